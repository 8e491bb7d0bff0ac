"""How many bytes of bodies are held that are no events yet."""

from service.ingest.waiting import too_many


class Room:
    """Counts the bytes of bodies that are arriving, or wait to be parsed, and bounds them."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._held_bytes = 0

    def take(self, size: int, *, held: int = 0) -> None:
        """Take room for a body, or for more of one of which so much is `held`.

        Raises Problem where there is none. A body that alone is more than may be held has room.
        """
        if self._held_bytes > held and self._held_bytes + size > self._most_bytes:
            raise too_many()
        self._held_bytes += size

    def give_back(self, size: int) -> None:
        """Give back what was taken."""
        self._held_bytes -= size
