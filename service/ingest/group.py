"""What is written together, in parts that lie apart in time, and those who wait for it."""

from collections.abc import Sequence

from service.events import Event
from service.ingest.lateness import by_time
from service.ingest.waiting import Settled, Waiting
from service.ingest.writing import GroupStore, write_settled


class Group:
    """The events of some requests. A sender is answered once all of its events are settled."""

    def __init__(self, waiting: Sequence[Waiting]) -> None:
        self.waiting = waiting
        """Those that are not answered yet, as far as it is up to the group."""
        self._settled = Settled()
        # The latest part first.
        self._parts = by_time(
            [event for one in waiting for event in one.events], lambda event: event.timestamp
        )
        self._again = False

    @property
    def is_awaited(self) -> bool:
        """Whether anybody has no answer yet."""
        return not all(one.answer.done() for one in self.waiting)

    @property
    def unsettled(self) -> list[Event]:
        """The events of which it is not known what became of them."""
        known = self._settled.refused | self._settled.broken
        return [event for part in self._parts for event in part if event.event_id not in known]

    @property
    def duplicates(self) -> int:
        """How many of the events were stored already, as their senders were told."""
        return self._settled.duplicates

    @property
    def refused(self) -> int:
        """How many of the events the database refused."""
        return len(self._settled.refused)

    async def write(self, store: GroupStore) -> None:
        """Commit what is not settled. Raises as write_settled(); what was committed stays so."""
        while self._parts:
            part = self._parts[0]
            again, self._again = self._again, True
            await write_settled(store, part, self._settled, again=again)
            self._again = False
            del self._parts[0]
            # What began after the end of this part is settled.
            since = min(event.timestamp for event in part) if self._parts else 0
            self._settled.answer([one for one in self.waiting if one.since >= since])
            self.waiting = [one for one in self.waiting if one.since < since]

    def settle(self) -> None:
        """Answer everybody: what was not committed is kept in another way."""
        self._parts = []
        self._settled.answer(self.waiting)
