-- What each instance of the service says of a minute in which events reached it: the events
-- themselves don't tell how long their senders waited. A row is written once, when its minute is
-- over; quiet minutes have none.

create table ingest_minutes (
    minute     timestamptz not null,
    instance   text        not null,
    events     bigint      not null,
    flushes    integer     not null,
    not_stored bigint      not null,
    p50_ms     real,
    p95_ms     real,
    p99_ms     real,
    max_ms     real
);

comment on table ingest_minutes is 'Ingest by instance and minute, kept 30 days';
comment on column ingest_minutes.events is 'events committed';
comment on column ingest_minutes.flushes is 'groups that they were committed in';
comment on column ingest_minutes.not_stored is 'events answered otherwise than 202 after validation';
comment on column ingest_minutes.p50_ms is
    'milliseconds from acceptance to COMMIT; every event counts as the first of its group';

select create_hypertable(
    'ingest_minutes',
    by_range('minute', interval '7 days'),
    create_default_indexes => false
);

create index ingest_minutes_minute_idx on ingest_minutes (minute desc);

select add_retention_policy('ingest_minutes', drop_after => interval '30 days');
