-- Each connection of its own: a commit is on disk once it returns, whatever the default becomes meanwhile.
select set_config('synchronous_commit', case setting when 'off' then 'on' else setting end, false)
from current_setting('synchronous_commit') as setting
