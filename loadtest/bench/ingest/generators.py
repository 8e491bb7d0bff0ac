"""Programs that send requests as fast as they are answered: wrk, else one that Node.js runs."""

import json
import math
import resource
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

HERE = Path(__file__).parent
TIMEOUT_SECONDS = 30

Generator = Literal["wrk", "node"]


class GeneratorError(Exception):
    """The generator did not do its work; the text is what it said."""


@dataclass(frozen=True)
class Sending:
    """What a generator found."""

    sent: int
    answered: int
    refused: int
    """Answered by an error."""
    failed: int
    """Connections that were refused or cut, and time-outs."""
    seconds: float
    """Until the last answer."""
    p50_ms: float
    p99_ms: float
    cpu_seconds: float
    """Of the generator itself."""


def available() -> Generator:
    """Return the better one that is there."""
    return "wrk" if shutil.which("wrk") else "node"


def send(
    generator: Generator,
    file: Path,
    port: int,
    *,
    connections: int,
    seconds: float,
    drain_seconds: int,
) -> Sending:
    """Send the requests of a file in turn, over and over, until the time is up; await the answers.

    wrk waits for them as long as it is told to. Raises GeneratorError.
    """
    if generator == "wrk":
        command = [
            *("wrk", "-t1", f"-c{connections}", f"-d{math.ceil(seconds) + drain_seconds}s"),
            *("--timeout", f"{TIMEOUT_SECONDS}s", "-s", str(HERE / "wrk.lua")),
            *(f"http://127.0.0.1:{port}", "--", str(file), str(seconds)),
        ]
    else:
        node = str(Path(sys.executable).with_name("node"))
        command = [node, str(HERE / "send.mjs"), str(port), str(connections), str(file)]
        command.append(str(seconds))
    before = _cpu_seconds_of_children()
    done = subprocess.run(  # noqa: S603 - the generator, with arguments of ours
        command, capture_output=True, text=True, check=False
    )
    try:
        found = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        raise GeneratorError(f"{generator} said: {done.stdout}{done.stderr}") from None
    return Sending(**found, cpu_seconds=_cpu_seconds_of_children() - before)


def _cpu_seconds_of_children() -> float:
    """Return what children took that have ended: the generators, while servers go on."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
