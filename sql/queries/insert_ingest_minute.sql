-- Minutes: what this instance did in one of them; if it is written again, it is there once.
insert into ingest_minutes (
    minute, instance, events, flushes, not_stored, p50_ms, p95_ms, p99_ms, max_ms,
    spooled, replayed, refused, spool_bytes, report_id
)
values (
    %(minute)s, %(instance)s, %(events)s, %(flushes)s, %(not_stored)s,
    %(p50_ms)s, %(p95_ms)s, %(p99_ms)s, %(max_ms)s,
    %(spooled)s, %(replayed)s, %(refused)s, %(spool_bytes)s, %(report_id)s
)
on conflict do nothing
