-- A row of ingest_minutes has a name of its own, which its instance gives it: one whose writing was cut
-- off, and may have succeeded, is written again and is there once. Minute and instance are no such name:
-- a container that is started again within a minute has the host and pid of the one before. Null in older
-- rows, which may be there twice, and in those of instances of an older version.

alter table ingest_minutes add column report_id uuid;

comment on column ingest_minutes.report_id is 'names the row, so that it is written once; null in older ones';

create unique index ingest_minutes_report_idx on ingest_minutes (minute, report_id);

-- That one serves ranges of minutes as well.
drop index ingest_minutes_minute_idx;
