"""How answers are sent: the head and the body of one in one piece."""

import asyncio
from collections.abc import Iterable
from typing import Any

HELD_BYTES = 64 * 1024
"""As much may be held back; more is handed on at once, so that a slow reader stops the writer."""


class JoiningTransport:
    """A transport that hands on in one piece what is written in one turn of the loop.

    uvicorn writes the head of an answer and its body one after the other, and uvloop makes a system
    call of each, which is what costs most of all that remains.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._held: list[bytes] = []
        self._held_bytes = 0

    def __getattr__(self, name: str) -> Any:
        """Return what is the same as without this."""
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send the data, by the end of this turn."""
        if not self._held:
            self._loop.call_soon(self._hand_on)
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes >= HELD_BYTES:
            self._hand_on()

    def writelines(self, pieces: Iterable[bytes]) -> None:
        """Send the data, by the end of this turn."""
        self.write(b"".join(pieces))

    def write_eof(self) -> None:
        """Send all that is held, and then the end."""
        self._hand_on()
        self._transport.write_eof()

    def close(self) -> None:
        """Close it once everything is sent."""
        self._hand_on()
        self._transport.close()

    def _hand_on(self) -> None:
        held, self._held, self._held_bytes = self._held, [], 0
        # The peer may have gone since it was written.
        if held and not self._transport.is_closing():
            self._transport.write(b"".join(held))
