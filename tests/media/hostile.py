"""Decoders that misbehave, for the sandbox to run. They are imported by name in its children."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from duomo.errors import Conflict, TooLarge
from duomo.media.sandbox import Reply


def echo(data: bytes, *, times: int = 1) -> Reply:
    return {"times": times, "text": "多模"}, [data] * times


def refuse(data: bytes) -> Reply:
    raise TooLarge("no", code="own_code")


def refuse_oddly(data: bytes) -> Reply:
    raise Conflict("not an error about input")


def stumble(data: bytes) -> Reply:
    raise KeyError("word/document.xml")


def loop_for_ever(data: bytes) -> Reply:
    while True:
        pass


def sleep_for_ever(data: bytes) -> Reply:
    time.sleep(3600)
    raise AssertionError


def allocate_too_much(data: bytes) -> Reply:
    hoard = [bytes(1 << 20) for _ in range(1 << 14)]
    return {"held": len(hoard)}, []


def allocate_too_much_in_c(data: bytes) -> Reply:
    """As a decoder that uses what malloc gives it without looking."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    ctypes.memset(libc.malloc(ctypes.c_size_t(1 << 40)), 1, 1 << 20)
    return {}, []


def crash(data: bytes) -> Reply:
    ctypes.string_at(1)
    return {}, []


def be_killed(data: bytes) -> Reply:
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    time.sleep(3600)
    raise AssertionError


def end_silently(data: bytes) -> Reply:
    os._exit(0)


def reply_too_much(data: bytes) -> Reply:
    return {}, [b"x" * (1 << 20)] * 3


def lie_about_sizes(data: bytes) -> Reply:
    os.write(3, b"\x00\x00\x00\x10" + b'{"sizes": [-5]}'.ljust(16))
    os._exit(0)


def promise_the_moon(data: bytes) -> Reply:
    os.write(3, b"\xff\xff\xff\xff")
    os._exit(0)


def talk_nonsense(data: bytes) -> Reply:
    os.write(3, b"\x00\x00\x00\x04\xff\x00{[")
    os._exit(0)


def look_around(data: bytes, *, secret: str, target: int) -> Reply:
    """Try what an intruder would; report what was possible."""
    attempts: dict[str, Callable[[], object]] = {
        "read a file": lambda: Path(secret).read_bytes(),
        "write a file": lambda: Path(secret).with_name("escaped").write_bytes(b""),
        "read another process": lambda: Path(f"/proc/{target}/environ").read_bytes(),
        "open a socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
        "start a program": lambda: subprocess.run([sys.executable, "-c", ""], check=True),
        "fork": _fork,
        "send a signal": lambda: os.kill(target, 0),
    }
    return {"possible": [name for name, attempt in attempts.items() if _works(attempt)]}, []


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def _works(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except OSError:
        return False
    return True


def what_it_holds(data: bytes) -> Reply:
    """Descriptors and environment of the child."""
    held = []
    for fd in range(64):
        try:
            os.fstat(fd)
        except OSError:
            continue
        held.append(fd)
    return {"descriptors": held, "environment": sorted(os.environ)}, []


def own_pid(data: bytes) -> Reply:
    return {"pid": os.getpid(), "parent": os.getppid()}, []
