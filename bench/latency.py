"""From PUT to the answer event: text, screenshots, voice notes, sustained text, text beside the others; memory.

The real service in one run on this machine: embedded PostgreSQL, web process, two workers, the demo workspace. Beside
the times stands what the machine costs anyway: the same PUT without an answer (the acknowledgement), so that figures
of a busy machine can be read as ratios.

    python -m bench.latency [--quick]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import psutil

from bench.common import write
from duomo.client import Customer, is_reply
from duomo.demo import SCENARIO
from duomo.service import Service

PORT = 18080


async def main(quick: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="duomo-bench-") as folder:
        home = Path(folder)
        home.chmod(0o711)
        environment = {**os.environ, "DUOMO_HOME": str(home), "DUOMO_PORT": str(PORT)}
        # The limits of abuse are not what is measured here; one address plays every customer.
        environment |= {f"DUOMO_{name}_PER_MINUTE": "100000" for name in ("VISITORS", "MESSAGES", "UPLOADS")}
        service = Service(home, environment=environment, database_url=None)
        with service.running(say=print):
            loaded = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "duomo.cli", "demo", "--home", str(home)], check=True, env=environment
            )
            figures: dict[str, Any] = {"demo_load_s": round(time.perf_counter() - loaded, 1)}
            async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{PORT}", timeout=60) as http:
                figures |= await measure(http, quick=quick)
            figures["memory_mib"] = memory()
        write(
            "latency", what=__doc__.splitlines()[0], figures=figures, data="the demo workspace, its questions and media"
        )
        print(json.dumps(figures, indent=1, ensure_ascii=False))


async def measure(http: httpx2.AsyncClient, *, quick: bool) -> dict[str, Any]:
    share = 4 if quick else 1
    random.seed(7)
    questions = [json.loads(line) for line in (SCENARIO / "questions/dev.jsonl").read_text("utf-8").splitlines()]
    random.shuffle(questions)
    media = SCENARIO / "media"
    screenshots = sorted((media / "screens").glob("customer-*.png"))
    notes = five_second_notes(media)
    figures: dict[str, Any] = {}

    async def text() -> tuple[float, float]:
        question = random.choice(questions)
        return await turn(http, question["text"], language=question["lang"])

    async def screenshot() -> tuple[float, float]:
        return await turn(http, files=[random.choice(screenshots)])

    async def note() -> tuple[float, float]:
        path, language = random.choice(notes)
        return await turn(http, files=[path], language=language)

    await many(text, 10)
    await many(screenshot, 2)
    await many(note, 2)
    figures["text"] = summary(await many(text, 200 // share))
    figures["screenshot"] = summary(await many(screenshot, 24 // share))
    figures["voice_5s"] = summary(await many(note, 16 // share))
    figures["text_20_a_second"] = await sustained(text, rate=20, seconds=20 // share)
    async with beside(screenshot, note):
        figures["text_beside_pictures_and_voice"] = summary(await many(text, 120 // share, pause_s=0.15))
    return figures


async def turn(
    http: httpx2.AsyncClient, text: str = "", *, files: Sequence[Path] = (), language: str = "en"
) -> tuple[float, float]:
    """A new customer asks once. Returns: seconds until the acknowledgement, and until the answer event."""
    customer = await Customer.arrive(http, language=language)
    listening = asyncio.Event()
    answered: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    async def listen() -> None:
        async with contextlib.aclosing(customer.listen()) as events:
            listening.set()
            async for event in events:
                if is_reply(event):
                    answered.set_result(time.perf_counter())
                    return

    task = asyncio.create_task(listen())
    await listening.wait()
    await asyncio.sleep(0.05)  # the stream is open
    started = time.perf_counter()
    await customer.say(text, files=files, language=language)
    acknowledged = time.perf_counter()
    async with asyncio.timeout(60):
        await answered
    await task
    return acknowledged - started, answered.result() - started


async def many(once: Callable[[], Awaitable[tuple[float, float]]], n: int, *, pause_s: float = 0.0) -> list[Any]:
    results = []
    for _ in range(n):
        results.append(await once())
        await asyncio.sleep(pause_s)
    return results


async def sustained(
    once: Callable[[], Awaitable[tuple[float, float]]], *, rate: float, seconds: float
) -> dict[str, Any]:
    """Customers arrive at a fixed rate whether or not the earlier ones were answered."""
    started = time.perf_counter()
    tasks = []
    for n in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, started + n / rate - time.perf_counter()))
        tasks.append(asyncio.create_task(once()))
    results = await asyncio.gather(*tasks)
    took = time.perf_counter() - started
    return {**summary(results), "answered_a_second": round(len(results) / took, 1)}


@contextlib.asynccontextmanager
async def beside(*others: Callable[[], Awaitable[tuple[float, float]]]) -> AsyncIterator[None]:
    """Other customers who send one picture or voice note after the other."""

    async def keep(once: Callable[[], Awaitable[tuple[float, float]]]) -> None:
        while True:
            await once()

    tasks = [asyncio.create_task(keep(other)) for other in others]
    await asyncio.sleep(1)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if not isinstance(result, asyncio.CancelledError):
                raise RuntimeError("the load beside the text turns failed") from result  # type: ignore[arg-type]


def five_second_notes(media: Path) -> list[tuple[Path, str]]:
    rows = [json.loads(line) for line in (media / "speech.jsonl").read_text("utf-8").splitlines()]
    import av

    found = []
    for row in rows:
        path = media / row["file"]
        with av.open(str(path)) as container:
            seconds = (container.duration or 0) / av.time_base
        if 3.5 <= seconds <= 6.5:
            found.append((path, row["lang"]))
    return found


def summary(results: Sequence[tuple[float, float]]) -> dict[str, Any]:
    acknowledged, answered = np.array(results).T * 1000
    return {
        "n": len(results),
        "p50_ms": round(float(np.percentile(answered, 50)), 1),
        "p95_ms": round(float(np.percentile(answered, 95)), 1),
        "max_ms": round(float(answered.max()), 1),
        "acknowledged_p50_ms": round(float(np.percentile(acknowledged, 50)), 1),
        "answer_to_acknowledgement": round(float(np.median(answered / acknowledged)), 1),
    }


def memory() -> dict[str, float]:
    """MiB of every process of the service; PSS counts a page shared by n processes as 1/n."""
    found: dict[str, float] = {}
    for process in psutil.process_iter(["name", "cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        name = next((n for n in ("duomo.server", "turns,housekeeping", "media,knowledge") if n in line), None)
        if name is None and ("postgres" in (process.info["name"] or "")):
            name = "postgres"
        if name is None and "duomo" in line and "sandbox" in line:
            name = "sandbox"
        if name:
            with contextlib.suppress(psutil.NoSuchProcess):
                found[name] = found.get(name, 0.0) + process.memory_full_info().pss / 2**20
    own = psutil.Process().memory_full_info().pss / 2**20
    return {**{k: round(v) for k, v in found.items()}, "this benchmark": round(own), "sum": round(sum(found.values()))}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a quarter of the turns")
    asyncio.run(main(parser.parse_args().quick))
