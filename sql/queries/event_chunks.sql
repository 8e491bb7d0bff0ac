-- Erasure: the ranges of the chunks of events.
select range_start, range_end
from timescaledb_information.chunks
where hypertable_schema = 'public' and hypertable_name = 'events'
order by range_start
