"""Run one decoding function over foreign bytes in a child process that can do nothing else.

    caller --request, over a socket pair--> child (one a file, limited, confined)
      |                                       ^ fork
      +--two descriptors, over a control socket--> zygote (has imported the decoders, holds nothing else)

The zygote is a fresh interpreter: it inherits no socket, no database connection and no secret of the caller's
environment, so its children cannot either. It never reads foreign bytes; it forks, waits, kills at the deadline and
says how a child ended. Nothing is pickled: a request is a JSON header and the file; a reply is a JSON header and raw
byte strings whose sizes are checked while reading, because a child that decodes hostile input may lie.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import json
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from duomo import errors
from duomo.errors import DuomoError, MediaError, TooLarge, Unavailable
from duomo.media.confine import Confinement

MIB = 1 << 20

PRELOAD = (
    "duomo.media.audio",
    "duomo.media.document",
    "duomo.media.image",
)
"""What the zygote imports before its first fork; each brings the decoders it needs."""

Reply = tuple[dict[str, Any], list[bytes]]
"""What a sandboxed function returns: a header that JSON can carry, and byte strings."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What one child may use; more ends it."""

    wall_s: float = 30.0  # from fork to the last byte of the reply
    cpu_s: int = 20
    memory_bytes: int = 1024 * MIB  # of address space, beyond the interpreter and the file itself
    output_bytes: int = 256 * MIB  # of the reply


DEFAULT = Budget()


class Sandbox:
    """One zygote and the children it forks. Safe to use from many threads; starts at the first `run`.

    A file's child is alone with that file: two files never share a process.
    """

    def __init__(self, *, preload: Sequence[str] = PRELOAD, parallel: int | None = None) -> None:
        """
        Args:
            preload: modules the zygote imports before its first fork.
            parallel: children at one time; further calls wait. Default: one a core, at least two.
        """
        self._preload = tuple(preload)
        self._places = threading.BoundedSemaphore(parallel or max(2, os.cpu_count() or 1))
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._owner = os.getpid()

    def pid(self) -> int | None:
        """Of the zygote; None while none runs."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Start the zygote now instead of at the first file (about half a second).

        Raises:
            Unavailable: it did not come up.
        """
        with self._lock:
            self._connect()

    def stop(self) -> None:
        """End the zygote and its children; the next `run` starts another."""
        with self._lock:
            self._disconnect()

    def run(self, function: Callable[..., Reply], data: bytes, *, budget: Budget = DEFAULT, **arguments: Any) -> Reply:
        """Return `function(data, **arguments)`, computed in a child.

        Args:
            function: importable by name from the top level of its module; returns a header and byte strings.
            arguments: must fit in JSON.
        Raises:
            DuomoError: what the function raised on purpose.
            MediaError: it failed otherwise; code "broken" (an exception), "media_timeout", "media_memory" or
                "media_crash".
            Unavailable: the zygote cannot be started.
        """
        request = json.dumps(
            {"function": f"{function.__module__}:{function.__qualname__}", "arguments": arguments, "size": len(data)}
        ).encode()
        with self._places:
            for attempt in (1, 2):
                try:
                    return self._attempt(request, data, budget)
                except _ZygoteDied:
                    if attempt == 2:
                        raise MediaError(
                            "decoding this file ended the decoder twice; it is refused", code="media_crash"
                        ) from None
        raise AssertionError("unreachable")

    def _attempt(self, request: bytes, data: bytes, budget: Budget) -> Reply:
        job, child_job = socket.socketpair()
        status, zygote_status = socket.socketpair()
        with job, status:
            try:
                with child_job, zygote_status:
                    self._send_fork(budget, child_job, zygote_status)
                deadline = time.monotonic() + budget.wall_s + _GRACE_S
                try:
                    _send(job, struct.pack("!I", len(request)) + request, deadline)
                    _send(job, data, deadline)
                    header, blobs = _read_reply(job, deadline, budget.output_bytes)
                except (EOFError, ConnectionError):
                    raise _how_it_ended(status, deadline, budget) from None
            except TimeoutError:
                self.stop()  # the zygote should have killed the child by its deadline
                raise MediaError(_timeout_text(budget), code="media_timeout") from None
        if "error" in header:
            raise _error(header["error"])
        return header["result"], blobs

    def _send_fork(self, budget: Budget, job: socket.socket, status: socket.socket) -> None:
        message = _FORK.pack(budget.wall_s, budget.cpu_s, budget.memory_bytes)
        with self._lock:
            for attempt in (1, 2):
                control = self._connect()
                try:
                    socket.send_fds(control, [message], [job.fileno(), status.fileno()])
                    return
                except ConnectionError:
                    self._disconnect()
                    if attempt == 2:
                        raise Unavailable("the media sandbox ends as soon as it starts; see standard error") from None

    def _connect(self) -> socket.socket:
        if self._owner != os.getpid():  # forked: the zygote belongs to our parent
            self._disconnect()
            self._owner = os.getpid()
        if self._control is not None:
            return self._control
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-s", "-c", _ZYGOTE, str(theirs.fileno()), *self._preload],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=_environment(),
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C in the terminal is the caller's to handle
            )
        self._control = ours
        ours.settimeout(_START_S)
        try:
            ready = ours.recv(1)
        except TimeoutError:
            ready = b""
        if not ready:
            self._disconnect()
            raise Unavailable("the media sandbox did not start; its reason is on standard error")
        return ours

    def _disconnect(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._process is not None and self._owner == os.getpid():
            self._process.kill()
            self._process.wait()
        self._control = self._process = None


class _ZygoteDied(Exception):
    """The zygote ended before it could say how its child ended."""


_GRACE_S = 5.0  # after a child's own deadline, before the zygote counts as hung
_START_S = 60.0
_FORK = struct.Struct("!dIQ")  # wall_s, cpu_s, memory_bytes
_EXIT_MEMORY = 77
_ZYGOTE = "import sys; from duomo.media.sandbox import zygote; zygote(int(sys.argv[1]), sys.argv[2:])"


def _environment() -> dict[str, str]:
    """A child must not see the caller's variables: they hold keys and database addresses."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "SYSTEMROOT") if name in os.environ}
    return kept | {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTHONUTF8": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "1",
    }


# --- the caller's half of the wire


def _remaining(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _send(sock: socket.socket, data: bytes, deadline: float) -> None:
    view = memoryview(data)
    while view:
        sock.settimeout(_remaining(deadline))
        view = view[sock.send(view[:MIB]) :]


def _receive(sock: socket.socket, size: int, deadline: float) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        sock.settimeout(_remaining(deadline))
        got = sock.recv(min(size - len(parts), MIB))
        if not got:
            raise EOFError
        parts += got
    return bytes(parts)


def _read_reply(sock: socket.socket, deadline: float, limit: int) -> Reply:
    (length,) = struct.unpack("!I", _receive(sock, 4, deadline))
    if length > limit:
        raise _too_much(limit)
    try:
        header = json.loads(_receive(sock, length, deadline))
        sizes = [int(size) for size in header["sizes"]]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise MediaError("the decoder gave an unreadable reply; the file is refused", code="media_crash") from None
    if min(sizes, default=0) < 0 or length + sum(sizes) > limit:
        raise _too_much(limit)
    return header, [_receive(sock, size, deadline) for size in sizes]


def _too_much(limit: int) -> TooLarge:
    return TooLarge(f"the decoded file is larger than {limit // MIB} MiB; send a smaller one")


def _timeout_text(budget: Budget) -> str:
    return f"decoding took longer than {budget.wall_s:g} s (or {budget.cpu_s} s of processor); send a smaller file"


def _how_it_ended(status: socket.socket, deadline: float, budget: Budget) -> Exception:
    status.settimeout(_remaining(deadline))
    try:
        words = status.recv(64).decode("ascii").split()
    except ConnectionError:
        words = []
    match words:
        case ["timeout"]:
            return MediaError(_timeout_text(budget), code="media_timeout")
        case ["signal", number] if int(number) == signal.SIGXCPU:
            return MediaError(_timeout_text(budget), code="media_timeout")
        case ["exit", code] if int(code) == _EXIT_MEMORY:
            return _out_of_memory(budget.memory_bytes)
        case [how, number]:
            return MediaError(f"the decoder crashed on this file ({how} {number}); it is refused", code="media_crash")
    return _ZygoteDied()


def _out_of_memory(memory_bytes: int) -> MediaError:
    return MediaError(
        f"decoding needs more than {memory_bytes // MIB} MiB of memory; send a smaller file", code="media_memory"
    )


def _error(raised: Mapping[str, Any]) -> DuomoError:
    kind = getattr(errors, str(raised.get("class")), MediaError)
    if not (isinstance(kind, type) and issubclass(kind, errors.InputError)):
        kind = MediaError
    error: DuomoError = kind(str(raised.get("message")), code=str(raised.get("code")))
    return error


# --- the zygote


def zygote(control_fd: int, preload: Sequence[str]) -> NoReturn:
    """Fork a limited child for each request until the caller closes its end, which its death also does.

    (A parent-death signal would not serve here: Linux sends it when the *thread* that started us ends.)
    """
    for name in preload:
        importlib.import_module(name)
    confinement = Confinement()
    control = socket.socket(fileno=control_fd)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    gc.collect()
    gc.freeze()  # children share these pages until they write to them
    control.sendall(b"r")
    children: dict[int, tuple[float, socket.socket]] = {}
    poll = select.poll()
    poll.register(control, select.POLLIN)
    poll.register(woken, select.POLLIN)
    while True:
        nearest = min((deadline for deadline, _ in children.values()), default=None)
        wait = None if nearest is None else max(0.0, nearest - time.monotonic()) * 1000 + 1
        ready = {fd for fd, _ in poll.poll(wait)}
        if woken in ready:
            os.read(woken, 4096)
        if control.fileno() in ready and not _fork(control, children, confinement):
            break
        _reap(children)
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    os._exit(0)


def _fork(control: socket.socket, children: dict[int, tuple[float, socket.socket]], confinement: Confinement) -> bool:
    """Start one child; False when the caller has gone."""
    try:
        message, fds, _, _ = socket.recv_fds(control, _FORK.size, 2)
    except ConnectionError:
        return False
    if len(message) < _FORK.size or len(fds) != 2:
        return False
    wall_s, cpu_s, memory_bytes = _FORK.unpack(message)
    job_fd, status_fd = fds
    deadline = time.monotonic() + wall_s
    zygote_pid = os.getpid()
    pid = os.fork()
    if pid == 0:
        _child(job_fd, zygote_pid, cpu_s, memory_bytes, confinement)
    os.close(job_fd)
    children[pid] = deadline, socket.socket(fileno=status_fd)
    return True


def _reap(children: dict[int, tuple[float, socket.socket]]) -> None:
    now = time.monotonic()
    late = {pid for pid, (deadline, _) in children.items() if deadline <= now}
    for pid in late:
        os.kill(pid, signal.SIGKILL)
    for pid in list(children):
        done, status = os.waitpid(pid, 0 if pid in late else os.WNOHANG)
        if not done:
            continue
        _, answer = children.pop(pid)
        code = os.waitstatus_to_exitcode(status)
        how = "timeout" if pid in late else f"signal {-code}" if code < 0 else f"exit {code}"
        with answer:
            try:
                answer.send(how.encode())
            except OSError:
                continue  # the caller has its reply and no longer listens


# --- the child


def _child(job_fd: int, zygote_pid: int, cpu_s: int, memory_bytes: int, confinement: Confinement) -> NoReturn:
    """Answer one request, then end. Nothing after `apply` can open a file, a socket or a process."""
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _keep_only(job_fd)
        _die_with(zygote_pid)
        with socket.socket(fileno=_JOB) as job:
            (length,) = struct.unpack("!I", _receive(job, 4, time.monotonic() + 3600))
            request = json.loads(_receive(job, length, time.monotonic() + 3600))
            data = _receive(job, request["size"], time.monotonic() + 3600)
            module, _, name = request["function"].partition(":")
            function = getattr(importlib.import_module(module), name)
            _limit(cpu_s, memory_bytes)
            confinement.apply()
            header, blobs = _answer(function, data, request["arguments"], memory_bytes)
            job.settimeout(None)
            job.sendall(struct.pack("!I", len(header)) + header)
            for blob in blobs:
                job.sendall(blob)
        os._exit(0)
    except MemoryError:
        os._exit(_EXIT_MEMORY)
    finally:
        os._exit(1)


_JOB = 3  # the child's only descriptor besides /dev/null on 0, 1 and 2


def _keep_only(job_fd: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    high = os.dup2(job_fd, max(job_fd, null) + 8)  # out of the way of 0..3
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.dup2(high, _JOB)
    os.closerange(_JOB + 1, os.sysconf("SC_OPEN_MAX"))


def _die_with(zygote_pid: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
    if os.getppid() != zygote_pid:
        os._exit(1)


def _limit(cpu_s: int, memory_bytes: int) -> None:
    with open("/proc/self/statm", "rb") as statm:
        used = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))  # SIGXCPU, which names the reason; then SIGKILL
    for which, value in (
        (resource.RLIMIT_AS, used + memory_bytes),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 16),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(which, (value, value))
    os.nice(5)


def _answer(
    function: Callable[..., Reply], data: bytes, arguments: dict[str, Any], memory_bytes: int
) -> tuple[bytes, list[bytes]]:
    try:
        result, blobs = function(data, **arguments)
        header: dict[str, Any] = {"result": result, "sizes": [len(blob) for blob in blobs]}
    except DuomoError as error:
        header, blobs = _raised(type(error).__name__, error.code, str(error)), []
    except MemoryError:
        refusal = _out_of_memory(memory_bytes)
        header, blobs = _raised("MediaError", refusal.code, str(refusal)), []
    # Decoders raise anything at all on hostile input; here it can only mean "this file".
    except Exception as error:  # noqa: BLE001
        where = traceback.extract_tb(error.__traceback__)[-1]
        said = f"the file is damaged or not what it claims to be ({type(error).__name__} in {where.name})"
        header, blobs = _raised("MediaError", "broken", said), []
    return json.dumps(header).encode(), blobs


def _raised(kind: str, code: str, message: str) -> dict[str, Any]:
    return {"error": {"class": kind, "code": code, "message": message}, "sizes": []}


# --- the process's own sandbox

_shared = Sandbox()
run = _shared.run
start = _shared.start
stop = _shared.stop
pid = _shared.pid
atexit.register(stop)
