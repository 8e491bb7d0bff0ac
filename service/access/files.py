"""What access keeps on the disk, beside the spool: for the service's own eyes, and always whole."""

import os
import secrets
from hashlib import sha256
from pathlib import Path

import structlog
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from pydantic import ConfigDict, TypeAdapter, ValidationError

from service.access.keys import Key
from service.alone import alone
from service.database.failures import first_line

log = structlog.get_logger()

KEYS = TypeAdapter(list[Key], config=ConfigDict(ser_json_bytes="base64", val_json_bytes="base64"))

SECRET_BYTES = 32


class KeysFile:
    """The keys as they were when the database was last asked, for a start while it is away."""

    def __init__(self, directory: Path, database_url: str) -> None:
        # Services of several databases may have one directory.
        self._path = directory / f"keys-{_name_of(database_url)}.json"
        self._written = b""

    def read(self) -> list[Key]:
        """Return the keys; none where nothing is known of them."""
        try:
            return KEYS.validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return []
        except (OSError, ValidationError) as error:
            log.warning("the cached keys can't be read", error=type(error).__name__)
            return []

    def write(self, keys: list[Key]) -> None:
        """Keep the keys, unless they are there already; a disk that is full keeps the old ones."""
        content = KEYS.dump_json(keys)
        if content == self._written:
            return
        try:
            replace(self._path, content)
            self._written = content
        except OSError as error:
            log.warning("the keys can't be cached", error=first_line(error))


def kept_secret(path: Path) -> bytes:
    """Return the random bytes of a file, which is made if it is not there. Raises OSError."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A hard link, which one alone can make, some disks lack.
        with alone(path.with_name(f".{path.name}.lock")):
            # Else another worker was faster: all have its secret.
            if not path.exists():
                replace(path, secrets.token_bytes(SECRET_BYTES))
    secret = path.read_bytes()
    if len(secret) < SECRET_BYTES:
        raise OSError(f"{path} is damaged: remove it, and start again")
    return secret


def replace(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, at once as a whole. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
    fresh.replace(path)


def _name_of(database_url: str) -> str:
    try:
        parts = conninfo_to_dict(database_url)
    except ProgrammingError:
        parts = {}
    where = [str(parts.get(name, "")) for name in ("host", "hostaddr", "port", "dbname")]
    return sha256("\n".join(where).encode()).hexdigest()[:16]
