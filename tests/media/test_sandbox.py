"""A child that decodes a file may fail in any way; the caller gets an answer or a MediaError, and nothing else."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from duomo.errors import MediaError, TooLarge
from duomo.media.sandbox import MIB, Budget, Reply, Sandbox
from tests.media import hostile

linux = pytest.mark.skipif(sys.platform != "linux", reason="Landlock, seccomp and /proc are Linux's")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    box = Sandbox(preload=("tests.media.hostile",))
    yield box
    box.stop()


def test_arguments_and_bytes_go_there_and_back(sandbox: Sandbox) -> None:
    assert sandbox.run(hostile.echo, b"\x00\xff" * MIB, times=2) == (
        {"times": 2, "text": "多模"},
        [b"\x00\xff" * MIB] * 2,
    )


def test_an_empty_file_goes_there_and_back(sandbox: Sandbox) -> None:
    assert sandbox.run(hostile.echo, b"") == ({"times": 1, "text": "多模"}, [b""])


def test_what_the_function_refuses_on_purpose_arrives_as_it_was_raised(sandbox: Sandbox) -> None:
    with pytest.raises(TooLarge, match="no") as caught:
        sandbox.run(hostile.refuse, b"")
    assert caught.value.code == "own_code"


def test_a_child_cannot_raise_an_error_that_is_not_about_its_input(sandbox: Sandbox) -> None:
    with pytest.raises(MediaError):
        sandbox.run(hostile.refuse_oddly, b"")


BUDGET = Budget(wall_s=20, cpu_s=10, memory_bytes=256 * MIB, output_bytes=2 * MIB)


@pytest.mark.parametrize(
    ("function", "budget", "code"),
    [
        (hostile.stumble, BUDGET, "broken"),
        (hostile.loop_for_ever, Budget(cpu_s=1, wall_s=3600), "media_timeout"),
        (hostile.loop_for_ever, Budget(wall_s=0.3), "media_timeout"),
        (hostile.sleep_for_ever, Budget(wall_s=0.3), "media_timeout"),
        (hostile.allocate_too_much, BUDGET, "media_memory"),
        (hostile.allocate_too_much_in_c, BUDGET, "media_crash"),
        (hostile.crash, BUDGET, "media_crash"),
        (hostile.be_killed, BUDGET, "media_crash"),
        (hostile.end_silently, BUDGET, "media_crash"),
        (hostile.reply_too_much, BUDGET, "too_large"),
        (hostile.promise_the_moon, BUDGET, "too_large"),
        (hostile.lie_about_sizes, BUDGET, "too_large"),
        (hostile.talk_nonsense, BUDGET, "media_crash"),
    ],
)
def test_whatever_ends_a_child_becomes_a_media_error_and_the_next_file_is_unharmed(
    sandbox: Sandbox, function: Callable[..., Reply], budget: Budget, code: str
) -> None:
    sandbox.start()
    before = sandbox.pid()
    with pytest.raises(MediaError) as caught:
        sandbox.run(function, b"data", budget=budget)
    assert caught.value.code == code
    assert sandbox.run(hostile.echo, b"next")[1] == [b"next"]
    assert sandbox.pid() == before


@linux
def test_a_child_that_was_taken_over_cannot_reach_files_network_or_processes(sandbox: Sandbox, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("key")
    header, _ = sandbox.run(hostile.look_around, b"", secret=str(secret), target=os.getpid())
    assert header == {"possible": []}


def test_a_child_inherits_no_descriptor_and_no_secret(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUOMO_LLM_KEY", "sk-secret")
    box = Sandbox(preload=("tests.media.hostile",))
    with open(os.devnull) as inheritable:
        os.set_inheritable(inheritable.fileno(), True)
        header, _ = box.run(hostile.what_it_holds, b"")
    box.stop()
    assert header["descriptors"] == [0, 1, 2, 3]  # /dev/null three times, and its own job
    assert not [name for name in header["environment"] if name.startswith("DUOMO") or "DATABASE" in name]


def test_every_file_has_a_process_of_its_own(sandbox: Sandbox) -> None:
    first, second = (sandbox.run(hostile.own_pid, b"")[0] for _ in range(2))
    assert first["pid"] != second["pid"]
    assert first["parent"] == second["parent"] == sandbox.pid()


def test_a_zygote_that_dies_is_replaced(sandbox: Sandbox) -> None:
    sandbox.run(hostile.echo, b"")
    dead = sandbox.pid()
    assert dead is not None
    os.kill(dead, signal.SIGKILL)
    assert sandbox.run(hostile.echo, b"again")[1] == [b"again"]
    assert sandbox.pid() != dead


@linux
def test_a_zygote_that_dies_in_the_middle_of_a_file_takes_its_child_along_and_costs_only_time(sandbox: Sandbox) -> None:
    sandbox.start()
    dead = sandbox.pid()
    assert dead is not None
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(sandbox.run, hostile.sleep_for_ever, b"", budget=Budget(wall_s=3))
        _wait_until(lambda: len(_children(dead)) == 1)
        (child,) = _children(dead)
        os.kill(dead, signal.SIGKILL)
        _wait_until(lambda: not _alive(child))
        with pytest.raises(MediaError) as caught:
            waiting.result()
    assert caught.value.code == "media_timeout"  # of the second try: the first ended without a word
    assert sandbox.pid() != dead


def test_many_threads_and_tasks_may_decode_at_once(sandbox: Sandbox) -> None:
    async def all_at_once() -> list[Reply]:
        bodies = [bytes([number]) * 100_000 for number in range(24)]
        return await asyncio.gather(*(asyncio.to_thread(sandbox.run, hostile.echo, body) for body in bodies))

    replies = asyncio.run(all_at_once())
    assert [blobs for _, blobs in replies] == [[bytes([number]) * 100_000] for number in range(24)]


def test_the_thread_that_started_the_zygote_may_end() -> None:
    box = Sandbox(preload=("tests.media.hostile",))
    thread = threading.Thread(target=box.start)
    thread.start()
    thread.join()
    before = box.pid()
    assert box.run(hostile.echo, b"x")[1] == [b"x"]
    assert box.pid() == before
    box.stop()


@linux
def test_zygote_and_children_end_with_their_caller_even_when_it_is_killed(tmp_path: Path) -> None:
    script = (
        "import threading\n"
        "from duomo.media.sandbox import Sandbox, Budget\n"
        "from tests.media import hostile\n"
        "box = Sandbox(preload=('tests.media.hostile',))\n"
        "child = box.run(hostile.own_pid, b'')[0]\n"
        "threading.Thread(target=box.run, args=(hostile.sleep_for_ever, b''), daemon=True).start()\n"
        "print(child['parent'], flush=True)\n"
        "threading.Event().wait()\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment) as caller:
        assert caller.stdout is not None
        zygote = int(caller.stdout.readline())
        _wait_until(lambda: len(_children(zygote)) == 1)
        (child,) = _children(zygote)
        caller.kill()
    _wait_until(lambda: not _alive(zygote) and not _alive(child))


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _wait_until(condition: Callable[[], bool], *, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
