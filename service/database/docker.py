"""TimescaleDB in Docker: the service `db` of docker-compose.yml."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from service.database.migrations import DatabaseError

ROOT = Path(__file__).parents[2]
WITHOUT = "Without Docker: --database embedded."


def answers() -> bool:
    """Return whether Docker's daemon and its compose plugin answer."""
    return all(
        _docker(*command, seconds=10).returncode == 0
        for command in (("info",), ("compose", "version"))
    )


@contextmanager
def database(*, fresh: bool) -> Iterator[str]:
    """Yield the URL of the database in Docker; stop it afterwards if it was started here.

    Raises DatabaseError.
    """
    _require_compose()
    if fresh:
        _compose("down", "--volumes")
    was_running = bool(_compose("ps", "--quiet", "--status", "running", "db").strip())
    try:
        _compose("up", "--detach", "--wait", "db")
        yield _url()
    finally:
        if not was_running:
            _compose("stop", "db")


def _require_compose() -> None:
    if _docker("compose", "version", seconds=10).returncode == 0:
        return
    engine = _docker("info", seconds=10)
    if engine.returncode != 0:
        raise DatabaseError(
            f"Docker does not answer: {_reason(engine)}. Is it installed, does it run? {WITHOUT}"
        )
    raise DatabaseError(
        f"Docker has no compose plugin (https://docs.docker.com/compose/install/). {WITHOUT}"
    )


def _url() -> str:
    """Return the URL by which compose publishes the database, whatever its settings are."""
    config = json.loads(_compose("config", "--format", "json"))["services"]["db"]
    port, password = config["ports"][0]["published"], config["environment"]["POSTGRES_PASSWORD"]
    return f"postgresql://postgres:{quote(password, safe='')}@127.0.0.1:{port}/tallymark"


def _compose(*arguments: str) -> str:
    done = _docker("compose", *arguments, seconds=600)
    if done.returncode != 0:
        raise DatabaseError(f"docker compose {arguments[0]} failed: {_reason(done)}. {WITHOUT}")
    return done.stdout


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return next(iter(lines), "it does not answer").rstrip(".")


def _docker(*arguments: str, seconds: float) -> subprocess.CompletedProcess[str]:
    command = ["docker", *arguments]
    try:
        return subprocess.run(  # noqa: S603 - a fixed program, and arguments of ours
            command, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, stdout="", stderr=str(error))
