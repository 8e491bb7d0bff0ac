-- The role of those who ask: it reads events, aggregates and the counting functions, and changes nothing.
-- What ops shows is for tallymark_ops (0005).

create procedure grant_read_access()
language plpgsql
set search_path = public, pg_temp
as $$
begin
    if to_regrole('tallymark_read') is null then
        raise warning 'there is no role tallymark_read: see docs/grafana.md';
        return;
    end if;
    grant select on
        events, retention, stale_ranges, event_counts_stale,
        event_counts_minute, event_counts_quarter_hour, event_counts_daily,
        page_views_quarter_hour, page_views_daily,
        element_clicks_quarter_hour, element_clicks_daily,
        users_quarter_hour, users_daily
    to tallymark_read;
end
$$;

revoke execute on procedure grant_read_access() from public;

-- Roles are the whole server's: another database may have made this one, or be making it now.
do $$
begin
    create role tallymark_read nologin;
exception
    when duplicate_object or unique_violation then
        null;
    when insufficient_privilege then
        raise warning 'the role tallymark_read can''t be made: see docs/grafana.md';
end
$$;

call grant_read_access();
