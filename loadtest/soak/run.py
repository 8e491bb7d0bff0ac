"""A run: senders at a rate, faults beside them, a sample of the memory each second."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CalledProcessError
from tempfile import TemporaryDirectory

from loadtest.soak.faults import Fault, faults
from tests.support.ledger import Comparison, Ledger
from tests.support.proxy import Proxy
from tests.support.senders import MIXED, Answer, Habit, Senders
from tests.support.services import ServiceProcess, wait_until_replayed

SAMPLE_SECONDS = 1.0
REPLAY_SECONDS = 300.0
"""How long the spool may take to be empty, after the last fault."""


@dataclass(frozen=True)
class Plan:
    """What is asked for."""

    seconds: float
    rate: float
    """Events a second."""
    seed: int
    every_seconds: float
    """Between faults."""
    habits: Sequence[Habit] = MIXED


@dataclass
class Course:
    """How a run went; times are seconds since its start."""

    answers: list[Answer] = field(default_factory=list)
    memory: list[tuple[float, int]] = field(default_factory=list)
    """Bytes."""
    faults: list[tuple[float, Fault]] = field(default_factory=list)


def run(
    plan: Plan, database_url: str, log: Path, service_type: type[ServiceProcess] = ServiceProcess
) -> tuple[Course, Comparison]:
    """Run a service on a database with the schema, and compare at the end."""
    ledger = Ledger()
    with TemporaryDirectory() as spool, Proxy(database_url) as proxy:
        service = service_type(proxy.url, log, SPOOL_DIRECTORY=spool)
        with service.running():
            course = asyncio.run(_run(plan, ledger, service, proxy))
            wait_until_replayed(service.base_url, REPLAY_SECONDS)
            service.terminate()
    return course, ledger.compare(database_url)


async def _run(plan: Plan, ledger: Ledger, service: ServiceProcess, proxy: Proxy) -> Course:
    course = Course()
    started = time.monotonic()
    async with Senders(service.base_url, ledger, habits=plan.habits, rate=plan.rate) as senders:
        sampling = asyncio.create_task(_sample(course, service, started))
        await _break(course, plan, service, proxy, started)
        sampling.cancel()
    course.answers = [
        Answer(answer.at - started, answer.seconds, answer.status, answer.events)
        for answer in senders.answers
    ]
    return course


async def _break(
    course: Course, plan: Plan, service: ServiceProcess, proxy: Proxy, started: float
) -> None:
    """Let things go wrong until the time is up; at the end everything is well again."""
    for fault in faults(plan.seed, plan.every_seconds):
        left = started + plan.seconds - time.monotonic()
        if left < fault.after_seconds + fault.seconds:
            await asyncio.sleep(max(0, left))
            return
        await asyncio.sleep(fault.after_seconds)
        course.faults.append((time.monotonic() - started, fault))
        match fault.kind:
            case "service killed":
                await asyncio.to_thread(service.kill_and_restart)
            case "connections cut":
                proxy.cut()
            case "database away":
                proxy.refuse()
                await asyncio.sleep(fault.seconds)
            case "database silent":
                proxy.hold()
                await asyncio.sleep(fault.seconds)
        proxy.pass_on()


async def _sample(course: Course, service: ServiceProcess, started: float) -> None:
    while True:
        # There is none while the service is being started again.
        with suppress(CalledProcessError):
            memory = await asyncio.to_thread(lambda: service.memory_bytes)
            course.memory.append((time.monotonic() - started, memory))
        await asyncio.sleep(SAMPLE_SECONDS)
