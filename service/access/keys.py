"""What a key is: how it is made, and how it is known again."""

import hmac
import re
import secrets
from hashlib import sha256
from typing import Literal, NamedTuple, get_args

Kind = Literal["write", "read", "admin"]
KINDS: tuple[Kind, ...] = get_args(Kind)

PREFIXES: dict[Kind, str] = {"write": "tmw_", "read": "tmr_", "admin": "tma_"}
ID_BYTES = 5
SECRET_BYTES = 32
_ID = slice(4, 4 + 2 * ID_BYTES)
_FORM = re.compile(rb"tm[wra]_[0-9a-f]{%d}_[0-9a-f]{%d}" % (2 * ID_BYTES, 2 * SECRET_BYTES))


class Key(NamedTuple):
    """What the service knows of a key: all but the key itself."""

    id: str
    kind: Kind
    site_id: int | None
    """The only site that it is for; None: all of them."""
    hash: bytes
    expires: float | None
    """Seconds since 1970."""

    def is_text(self, key: bytes) -> bool:
        """Whether that is the key's text; it takes as long for any other."""
        return hmac.compare_digest(hash_of(key), self.hash)

    def is_over(self, now: float) -> bool:
        """Whether it has expired by then."""
        return self.expires is not None and self.expires <= now


def new_key(kind: Kind) -> str:
    """Return the text of a new key: what it is for, its id, and 256 random bits."""
    return f"{PREFIXES[kind]}{secrets.token_hex(ID_BYTES)}_{secrets.token_hex(SECRET_BYTES)}"


def id_of(key: str) -> str:
    """Return the part of a key's text that is no secret."""
    return key[_ID]


def is_formed(key: bytes) -> bool:
    """Whether a text could be a key's."""
    return _FORM.fullmatch(key) is not None


def hash_of(key: bytes) -> bytes:
    """Return what is stored of a key.

    A slow hash, such as bcrypt, makes it dear to guess what people think of. Nobody guesses 256
    random bits, and this has to be done for each request.
    """
    return sha256(key).digest()
