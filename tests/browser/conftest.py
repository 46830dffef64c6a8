"""Chromium with a fake microphone and camera, and the fixtures of all browser tests.

`DUOMO_CHROMIUM` names the browser, `/usr/bin/chromium` by default. A machine without one leaves these tests out, unless
`CI` is set: there a missing browser is an error.
"""

from __future__ import annotations

import json
import math
import os
import struct
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.browser.fake_server import FakeServer

CHROMIUM = Path(os.environ.get("DUOMO_CHROMIUM", "/usr/bin/chromium"))
if not CHROMIUM.exists() and "CI" not in os.environ:
    collect_ignore_glob = ["test_*.py"]
AXE = Path(__file__).parent / "vendor/axe.min.js"
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
]


def speak_into(path: Path, seconds: float) -> Path:
    """A WAV of 48 kHz mono, 16 bit, which Chromium's fake microphone repeats: a tone of 300 Hz that rises and falls."""
    rate = 48_000
    samples = (
        int(12000 * math.sin(2 * math.pi * 300 * i / rate) * (0.3 + 0.7 * abs(math.sin(math.pi * i / rate))))
        for i in range(int(rate * seconds))
    )
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))
    return path


@pytest.fixture(scope="package")  # Playwright keeps an event loop running, which asyncio tests elsewhere cannot bear
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    sound = speak_into(tmp_path_factory.mktemp("microphone") / "tone.wav", 4)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=[*FLAGS, f"--use-file-for-fake-audio-capture={sound}"]
        )
        yield launched
        launched.close()


@pytest.fixture
def new_context(browser: Browser) -> Iterator[Callable[..., BrowserContext]]:
    """Contexts that know microphone, camera and a language, and are closed after the test."""
    opened: list[BrowserContext] = []

    def make(**options: Any) -> BrowserContext:
        context = browser.new_context(
            **{"locale": "en-GB", "viewport": {"width": 1280, "height": 860}, "permissions": ["microphone", "camera"]}
            | options
        )
        context.set_default_timeout(15_000)
        opened.append(context)
        return context

    yield make
    for context in opened:
        context.close()


@pytest.fixture
def page(new_context: Callable[..., BrowserContext]) -> Page:
    return new_context().new_page()


@pytest.fixture(scope="package")
def running() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


@pytest.fixture
def server(running: FakeServer) -> FakeServer:
    running.reset()
    return running


@pytest.fixture
def violations() -> Callable[..., list[str]]:
    """What axe finds against WCAG 2.2 AA, shadow roots included: `violations(page, "duomo-chat")`."""

    def check(page: Page, scope: str | None = None) -> list[str]:
        if not page.evaluate("() => 'axe' in window"):
            page.evaluate(AXE.read_text())  # as an expression: the page's policy forbids script elements
        found = page.evaluate(
            """async ([scope, tags]) => {
                const {violations} = await axe.run(scope || document, {runOnly: {type: "tag", values: tags}});
                return violations.map(({id, nodes}) => ({id, nodes: nodes.map((n) => [n.target, n.failureSummary])}));
            }""",
            [scope, WCAG],
        )
        return [f"{one['id']}: {json.dumps(node, ensure_ascii=False)}" for one in found for node in one["nodes"]]

    return check
