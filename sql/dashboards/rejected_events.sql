-- Which events did the database refuse, and why?
--
-- reason        what the database said
-- sqlstate      its code
-- site_id       of which site
-- events        how many, over all time
-- last_day      of these in the last 24 hours
-- first_at      when the first was refused
-- last_at       when the last was refused
-- status        warning where one was refused in the last 24 hours
--
-- Their bodies are in the table rejected_events, which this view does not show. A refusal shows a
-- defect of the validation: tell us of it.
--
-- Look: daily
-- Empty: none was ever refused

create or replace view ops.rejected_events as
select
    reason,
    sqlstate,
    site_id,
    count(*) as events,
    count(*) filter (where rejected_at > now() - interval '1 day') as last_day,
    min(rejected_at) as first_at,
    max(rejected_at) as last_at,
    case when max(rejected_at) > now() - interval '1 day' then 'warning' else 'ok' end as status
from rejected_events
group by reason, sqlstate, site_id
order by max(rejected_at) desc;
