-- The events themselves. Why each type and index is what it is: README.md, "Schema".

create extension if not exists timescaledb;

create type event_type as enum ('view', 'click', 'location');

create table events (
    timestamp  timestamptz not null check (isfinite(timestamp)),
    event_id   uuid        not null,
    site_id    smallint    not null default 1,
    user_id    text        not null,
    event_type event_type  not null,
    payload    jsonb       not null,
    primary key (timestamp, event_id) include (event_type, site_id)
);

select create_hypertable(
    'events',
    by_range('timestamp', interval '1 day'),
    create_default_indexes => false
);

create index events_user_id_timestamp_idx on events (user_id, timestamp desc);

-- Chunks become columns a day after the late window of 7 days has closed on them: nothing is
-- written there any more, and a conversion beside writes makes counts miss rows for a moment.
alter table events set (
    timescaledb.enable_columnstore = true,
    timescaledb.segmentby = 'event_type',
    timescaledb.orderby = 'timestamp, event_id'
);
call add_columnstore_policy('events', after => interval '8 days');
