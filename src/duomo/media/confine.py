"""Take away what decoding does not need: files, network, other processes. Linux only; elsewhere nothing happens.

Resource limits stop a child that uses too much. These two stop one that was taken over by the file it decodes:
Landlock lets it read the Python installation and the system's libraries, nothing else and nothing for writing;
seccomp refuses to make sockets, start programs, fork, or look into other processes. Both need no privilege, cannot
be undone, and are skipped by a kernel that lacks them (the resource limits remain).

Sources: linux/Documentation/userspace-api/landlock.rst and seccomp_filter.rst; the trick with clone3 is glibc's own
fallback, as used by Chromium's sandbox.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
import sysconfig
from collections.abc import Collection

_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2

_LANDLOCK_CREATE_RULESET, _LANDLOCK_ADD_RULE, _LANDLOCK_RESTRICT_SELF = 444, 445, 446  # the same on every machine
_LANDLOCK_RULE_PATH_BENEATH = 1
_LANDLOCK_VERSION = 1
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}  # how many the ABI has; 16 from its fifth version on
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3

# System calls refused with EPERM, by machine: number in the kernel's table.
_REFUSED = {
    "x86_64": {
        "socket": 41, "connect": 42, "bind": 49, "listen": 50, "fork": 57, "vfork": 58, "execve": 59, "kill": 62,
        "chmod": 90, "fchmod": 91, "chown": 92, "fchown": 93, "lchown": 94, "ptrace": 101, "mount": 165, "tkill": 200,
        "tgkill": 234, "add_key": 248, "keyctl": 250, "fchownat": 260, "fchmodat": 268, "unshare": 272,
        "perf_event_open": 298, "setns": 308, "process_vm_readv": 310, "process_vm_writev": 311, "bpf": 321,
        "execveat": 322, "userfaultfd": 323, "pidfd_send_signal": 424, "io_uring_setup": 425, "pidfd_open": 434,
        "pidfd_getfd": 438, "fchmodat2": 452,
    },
    "aarch64": {
        "mount": 40, "fchmod": 52, "fchmodat": 53, "fchownat": 54, "fchown": 55, "unshare": 97, "ptrace": 117,
        "kill": 129, "tkill": 130, "tgkill": 131, "socket": 198, "bind": 200, "listen": 201, "connect": 203,
        "add_key": 217, "keyctl": 219, "execve": 221, "perf_event_open": 241, "setns": 268, "process_vm_readv": 270,
        "process_vm_writev": 271, "bpf": 280, "execveat": 281, "userfaultfd": 282, "pidfd_send_signal": 424,
        "io_uring_setup": 425, "pidfd_open": 434, "pidfd_getfd": 438, "fchmodat2": 452,
    },
}  # fmt: skip
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32 = 0x40000000  # the numbers of x86's second table begin here
_CLONE = {"x86_64": 56, "aarch64": 220}
_CLONE3 = 435
_CLONE_THREAD = 0x00010000


class Confinement:
    """Made once, before forking; applied in each child, for good."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._paths = _readable()
        self._program = _program(platform.machine()) if platform.machine() in _REFUSED else None

    def apply(self) -> None:
        if sys.platform != "linux":
            return
        self._libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
        self._libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        _landlock(self._libc, self._paths)
        if self._program is not None:
            _seccomp(self._libc, self._program)


def _landlock(libc: ctypes.CDLL, paths: Collection[str]) -> None:
    version = libc.syscall(_LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_VERSION)
    if version < 1:
        return
    attributes = struct.pack("Q", (1 << _FILE_RIGHTS.get(version, 16)) - 1)
    ruleset = libc.syscall(_LANDLOCK_CREATE_RULESET, attributes, len(attributes), 0)
    if ruleset < 0:
        return
    for path in paths:
        try:
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        rule = struct.pack("=Qi", _READ_FILE | _READ_DIR, fd)
        libc.syscall(_LANDLOCK_ADD_RULE, ruleset, _LANDLOCK_RULE_PATH_BENEATH, rule, 0)
        os.close(fd)
    libc.syscall(_LANDLOCK_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def _readable() -> set[str]:
    """Modules imported late and their libraries: the code of the installation, never data."""
    paths = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return paths | {os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "/lib", "/lib64", "/usr/lib"}


def _seccomp(libc: ctypes.CDLL, code: bytes) -> None:
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer))  # struct sock_fprog
    libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, program, 0, 0)


def _program(machine: str) -> bytes:
    """Classic BPF over struct seccomp_data {int nr; u32 arch; u64 ip; u64 args[6]}."""
    load, jump_equal, jump_from, jump_bits, answer = 0x20, 0x15, 0x35, 0x45, 0x06
    allow, kill = 0x7FFF0000, 0x80000000
    refuse, missing = 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS

    def step(operation: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
        return struct.pack("HBBI", operation, if_true, if_false, value)

    program = [
        step(load, 4),
        step(jump_equal, _AUDIT_ARCH[machine], 1, 0),
        step(answer, kill),
        step(load, 0),
        step(jump_from, _X32, 0, 1),
        step(answer, kill),
    ]
    for number in _REFUSED[machine].values():
        program += [step(jump_equal, number, 0, 1), step(answer, refuse)]
    # clone3 hides its flags behind a pointer; told it does not exist, glibc makes threads with clone
    program += [step(jump_equal, _CLONE3, 0, 1), step(answer, missing)]
    program += [
        step(jump_equal, _CLONE[machine], 0, 3),
        step(load, 16),
        step(jump_bits, _CLONE_THREAD, 1, 0),
        step(answer, refuse),
        step(answer, allow),
    ]
    return b"".join(program)
