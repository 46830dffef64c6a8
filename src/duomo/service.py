"""`duomo run`: the database, the web process and the workers as one program that starts and stops as one.

A process that dies is started again, the embedded PostgreSQL included. Stopping is SIGTERM to each, then SIGKILL to
what is left after ten seconds; nothing acknowledged depends on a clean stop.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from duomo import store
from duomo.errors import Conflict, Unavailable
from duomo.store import embedded

LOG_BYTES = 10_000_000  # a process's log is begun anew beyond this; one older file is kept
_STOP_WITHIN_S = 10.0
_PDEATHSIG = 1

# Text turns have a process of their own, so that they never wait behind somebody's pictures and voice.
PROCESSES: Mapping[str, Sequence[str]] = {
    "web": ("duomo.server",),
    "turns": ("duomo.worker", "--queues", "turns,housekeeping,training"),  # training itself is a process of its own
    "media": ("duomo.worker", "--queues", "media,knowledge"),
}

TUNING = {
    "MALLOC_ARENA_MAX": "2",  # glibc keeps up to eight heaps a core for threads, which a model's buffers then fill
    "OMP_WAIT_POLICY": "passive",  # threads that spin for work take it from the other processes
}

Say = Callable[[str], None]


@dataclass
class Process:
    """A child that is kept running, its output in a log file."""

    name: str
    command: Sequence[str]
    environment: dict[str, str]
    log: Path
    ready: threading.Event = field(default_factory=threading.Event)
    _child: subprocess.Popen[str] | None = None
    _deaths: int = 0
    _restart_at: float | None = None  # monotonic seconds; set once a death was noticed

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child else None

    def start(self) -> None:
        self.ready.clear()
        self._child = subprocess.Popen(
            [sys.executable, "-u", "-m", *self.command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=TUNING | self.environment,
            start_new_session=True,  # Ctrl-C in the terminal reaches only us
            preexec_fn=_die_with_parent,
        )
        threading.Thread(target=self._copy, args=(self._child.stdout,), daemon=True, name=f"log-{self.name}").start()

    def keep(self) -> str | None:
        """Start it again if it died, at most once in a growing pause. Returns: what happened, to be said."""
        if self._child is None or self._child.poll() is None:
            return None
        if self._restart_at is None:
            self._restart_at = time.monotonic() + min(0.1 * 2**self._deaths, 10)
            self._deaths += 1
        if time.monotonic() < self._restart_at:
            return None
        code = self._child.returncode
        self._restart_at = None
        self.start()
        return f"{self.name} ended with code {code} and was started again; see {self.log}"

    def stop(self, *, deadline: float) -> None:
        if self._child is None:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(timeout=max(0.0, deadline - time.monotonic()))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)  # what is left of its session, children included
        self._child.wait()

    def terminate(self) -> None:
        if self._child is not None and self._child.poll() is None:
            self._child.terminate()

    def tail(self, characters: int = 1500) -> str:
        return self.log.read_text(errors="replace")[-characters:] if self.log.exists() else ""

    def _copy(self, output: IO[str]) -> None:
        file = open(self.log, "a", encoding="utf-8")  # noqa: SIM115 - replaced while the loop runs
        with contextlib.closing(output):
            for line in output:
                if line.strip() == "ready":
                    self.ready.set()
                if file.tell() > LOG_BYTES:
                    file.close()
                    os.replace(self.log, self.log.with_suffix(".log.1"))
                    file = open(self.log, "a", encoding="utf-8")  # noqa: SIM115
                file.write(line)
                file.flush()
        file.close()


class Service:
    """The processes of one home directory; only one service runs a home at a time."""

    def __init__(self, home: Path, *, environment: dict[str, str], database_url: str | None) -> None:
        self.home = home
        self.database_url = database_url
        logs = home / "logs"
        logs.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.processes = [
            Process(name, command, environment, logs / f"{name}.log") for name, command in PROCESSES.items()
        ]
        self._stopping = threading.Event()

    @contextlib.contextmanager
    def running(self, *, say: Say, timeout_s: float = 120.0) -> Iterator[str]:
        """Everything started and ready; everything stopped at the end.

        Yields:
            The connection string of the database.
        Raises:
            Conflict: a service runs from this home already.
            Unavailable: a process did not become ready in `timeout_s`.
        """
        with _only_one(self.home), store.open_home(self.home, self.database_url) as dsn:
            watcher = threading.Thread(target=self._watch, args=(say,), name="watch", daemon=True)
            try:
                for process in self.processes:
                    process.start()
                watcher.start()
                self._wait_until_ready(say, timeout_s)
                yield dsn
            finally:
                self._stopping.set()
                watcher.join()
                self._stop()

    def _wait_until_ready(self, say: Say, timeout_s: float) -> None:
        started = said = time.monotonic()
        for process in self.processes:
            while not process.ready.wait(0.2):
                waited = time.monotonic() - started
                if waited > timeout_s:
                    raise Unavailable(f"{process.name} did not start within {timeout_s:.0f} s:\n{process.tail()}")
                if time.monotonic() - said > 2:
                    said = time.monotonic()
                    say(f"starting {process.name} ({waited:.0f} s)")

    def _watch(self, say: Say) -> None:
        while not self._stopping.wait(0.25):
            for process in self.processes:
                if happened := process.keep():
                    say(happened)
            if self.database_url is None:
                try:
                    if embedded.revive(self.home):
                        say("the database had stopped and was started again")
                except Unavailable as error:
                    say(str(error))

    def _stop(self) -> None:
        for process in self.processes:
            process.terminate()
        deadline = time.monotonic() + _STOP_WITHIN_S
        for process in self.processes:
            process.stop(deadline=deadline)


@contextlib.contextmanager
def _only_one(home: Path) -> Iterator[None]:
    with open(home / "run.lock", "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(
                f"Duomo runs from {home} already. Stop that one with Ctrl-C, or start this one with another --home."
            ) from None
        yield


def _die_with_parent() -> None:
    """Linux: a child gets SIGTERM when the service is killed without a chance to stop it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGTERM)
