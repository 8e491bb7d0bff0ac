-- What each instance says of its spool, in the rows that it writes of its minutes. There is one, too, for
-- a minute at whose end the spool held events, or in which some came from it. Null in older rows.

alter table ingest_minutes
    add column spooled     bigint,
    add column replayed    bigint,
    add column refused     bigint,
    add column spool_bytes bigint;

comment on column ingest_minutes.events is 'events answered 202: committed, or spooled';
comment on column ingest_minutes.flushes is 'groups that they were committed, or spooled, in';
comment on column ingest_minutes.spooled is
    'of the events, those that went to the local spool, since the database was away';
comment on column ingest_minutes.replayed is 'events of the spool that came to the database';
comment on column ingest_minutes.refused is 'events of the spool that are in rejected_events instead';
comment on column ingest_minutes.spool_bytes is
    'bytes of events on the local disk at the end of the minute, which the database does not have yet';
