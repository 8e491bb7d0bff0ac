-- Replay: since when are events kept? Microseconds since 1970; all of them: 0.
select coalesce((extract(epoch from nullif(retained_from(), '-infinity')) * 1000000)::bigint, 0)
