"""A database that fails in the middle of what it is given: events say themselves with what."""

import psycopg

from service.events import Event
from tests.support.events import make_event

FAIL = """
create function fail_as_told() returns trigger language plpgsql as $$
begin
    if new.user_id like 'fail %' then
        raise exception 'as it was told' using errcode = substr(new.user_id, 6);
    elsif new.user_id = 'hang' then
        perform pg_sleep(60);
    end if;
    return new;
end
$$;
create trigger fail_as_told before insert on events for each row execute function fail_as_told();
"""
STOP = "drop trigger fail_as_told on events"

REFUSED, AWAY, DEFECT, RETRY = "fail 22023", "fail 53100", "fail 42P01", "fail 40001"
HANG = "hang"
"""Users whose events the database fails at: it refuses the row, has no room, has a defect, asks to
try again; or never answers."""


def let_it_fail(url: str) -> None:
    """Let a database fail at the events of some users."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(FAIL)


def let_it_work(url: str) -> None:
    """Let it be a database as any other."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(STOP)


def event_of(user_id: str) -> Event:
    """Return an event of now by a user."""
    return make_event(user_id=user_id)
