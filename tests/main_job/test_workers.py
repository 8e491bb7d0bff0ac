"""--workers: processes that share a socket, and what becomes of them when one of them ends."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from service.ingest.spool.segments import SUFFIX
from tests.embedded.conftest import eventually
from tests.http.support import event
from tests.support.databases import blocked_table
from tests.support.ledger import Ledger
from tests.support.metrics import scrape
from tests.support.senders import Senders
from tests.support.services import ROOT, ServiceProcess

pytestmark = pytest.mark.fault

WORKERS = 2


class Service(ServiceProcess):
    """A service of several workers, and what it logs."""

    def __init__(self, database_url: str, log: Path, **environment: str) -> None:
        # DEBUG has a line for each health check: so it is known which worker has answered.
        environment |= {"WORKERS": str(WORKERS), "LOG_FORMAT": "json", "LOG_LEVEL": "debug"}
        super().__init__(database_url, log, **environment)
        self._entries = log

    def entries(self, name: str) -> list[dict[str, Any]]:
        """Return the entries of a name."""
        whole = self._entries.read_text().rpartition("\n")[0].splitlines()
        # Of a worker that is ended while it starts Python may say something of its own.
        entries = [json.loads(line) for line in whole if line.startswith("{")]
        return [entry for entry in entries if entry["event"] == name]

    def pids(self) -> list[int]:
        """Return the processes that were started, in order."""
        return [entry["pid"] for entry in self.entries("worker started")]

    def all_answer(self) -> bool:
        """Ask once, and return whether every living worker has answered a request by now."""
        self.answers()
        answered = {entry["worker"] for entry in self.entries("request")}
        return answered == set(range(1, WORKERS + 1))

    def spools_are_empty(self) -> bool:
        """Return whether no worker has a segment left; /health/ready tells of one worker alone."""
        folders = os.walk(self.environment["SPOOL_DIRECTORY"])  # It allows that they come and go.
        return not any(name.endswith(SUFFIX) for _, _, names in folders for name in names)


@pytest.fixture
def start(database_url: str, tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Starts services on a fresh database, and stops those that still run."""
    services: list[Service] = []

    def start(**environment: str) -> Service:
        log = tmp_path / f"{len(services)}.log"
        service = Service(database_url, log, **environment)
        services.append(service)
        service.start()
        return service

    yield start
    for service in services:
        if service.process is not None and service.process.poll() is None:
            service.terminate(30)
    eventually(lambda: not any(runs(pid) for one in services for pid in one.pids()), 30)


def runs(pid: int) -> bool:
    """Return whether there is such a process, and it has not ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def post(service: ServiceProcess) -> httpx.Response:
    """Post an event over a connection of its own."""
    return httpx.post(f"{service.base_url}/events", json=event(), timeout=20)


def kill_one(service: Service) -> None:
    """Kill the worker that was started last, and wait until that is known."""
    ended = len(service.entries("worker ended"))
    os.kill(service.pids()[-1], signal.SIGKILL)
    eventually(lambda: len(service.entries("worker ended")) > ended, 10)


def wait_for_the_next(service: Service) -> None:
    """Wait until there are as many workers as there shall be."""
    wanted = WORKERS + len(service.entries("worker ended"))
    eventually(lambda: len(service.pids()) == wanted, 20)


def test_all_workers_serve(start: Callable[..., Service]) -> None:
    service = start()
    eventually(service.all_answer, 30)
    assert len(set(service.pids())) == WORKERS
    assert service.terminate() == 0
    assert not any(map(runs, service.pids()))


def test_a_killed_worker_is_replaced_while_the_others_answer(
    start: Callable[..., Service],
) -> None:
    service = start()
    eventually(service.all_answer, 30)
    for _ in range(20):
        assert post(service).status_code == 202
    eventually(lambda: posted(service) == 20, 5)
    for _ in range(2):
        kill_one(service)
        assert post(service).status_code == 202
        wait_for_the_next(service)
    eventually(lambda: posted(service) == 22, 5)
    dead = service.entries("worker ended")
    assert [entry["exit"] for entry in dead] == [-signal.SIGKILL] * 2
    # Each worker has a connection to count by, and those that died have none.
    eventually(lambda: connections(service) == WORKERS, 20)


def posted(service: ServiceProcess) -> float:
    """Return how many events all workers have answered, the dead ones included."""
    return scrape(service.base_url).value("tallymark_requests_total", method="POST", status="202")


def connections(service: ServiceProcess) -> float:
    """Return how many connections the living workers have to count by."""
    return scrape(service.base_url).value("tallymark_pool_connections")


def test_a_worker_that_dies_at_once_is_started_less_and_less_often(
    start: Callable[..., Service],
) -> None:
    service = start()
    for _ in range(3):
        kill_one(service)
        wait_for_the_next(service)
    dead = service.entries("worker ended")
    assert [entry["worker"] for entry in dead] == [dead[0]["worker"]] * 3
    assert [entry["next_in_seconds"] for entry in dead] == [0.5, 1, 2]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_answers_what_is_in_flight(
    start: Callable[..., Service], database_url: str, native: bool, number: signal.Signals
) -> None:
    service = start(SHUTDOWN_SECONDS="20", INGEST_DEADLINE_SECONDS="20")
    eventually(service.all_answer, 30)
    with ThreadPoolExecutor(16) as pool:
        with blocked_table(database_url, native=native):
            answers = [pool.submit(post, service) for _ in range(16)]
            time.sleep(2)  # Nothing tells when all of them have arrived.
            assert service.process is not None
            service.process.send_signal(number)
            time.sleep(0.2)
            assert service.process.poll() is None
        assert [answer.result().status_code for answer in answers] == [202] * 16
    assert service.process.wait(20) == 0
    # A probe that met the lock took the database for away: those events are in the spool.
    service.start()
    eventually(service.spools_are_empty, 300)
    with psycopg.connect(database_url) as connection:
        assert connection.execute("select count(*) from events").fetchone() == (16,)


def test_connections_are_refused_while_it_stops(start: Callable[..., Service]) -> None:
    service = start(SHUTDOWN_SECONDS="20")
    eventually(service.all_answer, 30)
    with ExitStack() as stack:
        begun = [stack.enter_context(begin(service)) for _ in range(16)]
        assert service.process is not None
        service.process.terminate()
        eventually(lambda: is_refused(service), 10)
        assert all(is_refused(service) for _ in range(20))
        for connection in begun:
            connection.sendall(BODY)
        assert [connection.recv(12) for connection in begun] == [b"HTTP/1.1 202"] * 16
    assert service.process.wait(20) == 0


BODY = json.dumps(event()).encode()
HEAD = b"POST /events HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"


def begin(service: ServiceProcess) -> socket.socket:
    """Return a connection once a worker has begun to read the body of a request on it."""
    connection = socket.create_connection(("127.0.0.1", service.port), timeout=20)
    connection.sendall(HEAD % len(BODY))
    assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
    return connection


def is_refused(service: ServiceProcess) -> bool:
    """Return whether a connection is refused."""
    try:
        socket.create_connection(("127.0.0.1", service.port)).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_stop_under_load_loses_nothing(start: Callable[..., Service], database_url: str) -> None:
    async def scenario() -> int:
        async with Senders(service.base_url, ledger) as senders:
            await senders.until_accepted(200)
            return await asyncio.to_thread(service.terminate)

    ledger = Ledger()
    service = start()
    assert asyncio.run(scenario()) == 0
    comparison = ledger.compare(database_url)
    assert comparison.promise_holds, comparison
    assert comparison.stored == comparison.accepted, "something was stored and not answered"


def test_a_worker_that_hangs_is_killed_and_the_stop_is_in_time(
    start: Callable[..., Service],
) -> None:
    service = start(SHUTDOWN_SECONDS="0.5", INGEST_DEADLINE_SECONDS="0.5")
    # One that has not set its handlers yet would end by the signal, stopped or not.
    eventually(service.all_answer, 30)
    hanging = service.pids()[0]
    os.kill(hanging, signal.SIGSTOP)
    assert service.terminate() == 0
    assert not any(map(runs, service.pids()))
    (entry,) = service.entries("worker killed: it did not end in time")
    assert entry["worker"] == 1


def test_workers_do_not_outlive_their_parent(start: Callable[..., Service]) -> None:
    service = start()
    eventually(service.all_answer, 30)
    folders = {metrics_folder(pid) for pid in service.pids()}
    assert len(folders) == 1
    assert all(folder.is_dir() for folder in folders)
    service.kill()
    eventually(lambda: not any(map(runs, service.pids())), 20)
    assert not service.answers()
    assert not any(folder.exists() for folder in folders)


def metrics_folder(pid: int) -> Path:
    """Return where a worker counts."""
    environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    (folder,) = (one for one in environment if one.startswith(b"PROMETHEUS_MULTIPROC_DIR="))
    return Path(folder.partition(b"=")[2].decode())


def test_two_instances_on_one_database(start: Callable[..., Service], database_url: str) -> None:
    async def scenario() -> None:
        async with Senders([first.base_url, second.base_url], ledger, count=16) as senders:
            await senders.until_accepted(400)
            os.kill(first.pids()[0], signal.SIGKILL)
            await senders.until_accepted(400)

    ledger = Ledger()
    first, second = start(), start()
    asyncio.run(scenario())
    for service in (first, second):
        eventually(service.spools_are_empty, 300)
    comparison = ledger.compare(database_url)
    assert comparison.promise_holds, comparison
    counted = httpx.get(f"{second.base_url}/analytics/event-counts", timeout=20).json()
    with psycopg.connect(database_url) as connection:
        stored = connection.execute("select count(*) from events").fetchone()
    assert stored == (counted["total_events"],)


def test_the_main_job_says_once_that_all_workers_serve(database_url: str) -> None:
    options = ["--no-sample-data", "--port", "0", "--workers", str(WORKERS)]
    process = subprocess.Popen(
        [sys.executable, "-m", "service", "run", "--database", database_url, *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    said = ""
    while "Tallymark is ready" not in said:
        line = process.stdout.readline()
        assert line, said
        said += line
    # What a terminal does at Ctrl-C: everyone in the foreground gets the signal.
    os.killpg(process.pid, signal.SIGINT)
    rest, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert len(re.findall("Tallymark is ready", said + rest)) == 1
