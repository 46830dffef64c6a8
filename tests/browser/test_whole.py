"""One customer and one agent in Chromium, against the whole service: text, speech, camera, paste, offline, people."""

from __future__ import annotations

import re
import subprocess
import sys
import wave
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, expect

from duomo.demo import SCENARIO
from tests.browser.conftest import CHROMIUM, FLAGS
from tests.browser.widget_page import Widget
from tests.conftest import reachable
from tests.integration.conftest import Running, whole_service

MEDIA = SCENARIO / "media"
EMAIL = "mei@example.com"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with whole_service(reachable(tmp_path_factory.mktemp("whole"))) as running:
        made = subprocess.run(
            [sys.executable, "-m", "duomo.cli", "agent", EMAIL, "--name", "Mei", "--home", str(running.home)],
            input="", capture_output=True, text=True, check=True,
        )  # fmt: skip
        (running.home / "password").write_text(made.stdout.split()[-1])
        yield running


@pytest.fixture(scope="module")
def senses(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser whose microphone plays a customer's voice note and whose camera sees an error code."""
    folder = tmp_path_factory.mktemp("senses")
    sound, sight = spoken(folder / "voice.wav"), seen(folder / "display.y4m")
    launched = browser.browser_type.launch(
        executable_path=str(CHROMIUM),
        args=[*FLAGS, f"--use-file-for-fake-audio-capture={sound}", f"--use-file-for-fake-video-capture={sight}"],
    )
    yield launched
    launched.close()


def spoken(path: Path) -> Path:
    """48 kHz mono: "My delivery address is wrong, it has not been sent yet, can I change it?" and a second of rest."""
    with av.open(str(MEDIA / "speech" / "zh-address.ogg")) as container:
        resampler = av.AudioResampler("s16", "mono", 48_000)
        pieces = [r.to_ndarray()[0] for frame in container.decode(audio=0) for r in resampler.resample(frame)]
    samples = np.concatenate([*pieces, np.zeros(48_000, dtype=np.int16)])
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 48_000, 0, "NONE", ""))
        file.writeframes(samples.astype("<i2").tobytes())
    return path


def seen(path: Path) -> Path:
    """Ten still frames of a robot's display that shows E22, 640 x 480."""
    photo = Image.open(MEDIA / "photos" / "customer-v8-e22.jpg").convert("RGB")
    photo.thumbnail((640, 480))
    frame = Image.new("RGB", (640, 480))
    frame.paste(photo, ((640 - photo.width) // 2, (480 - photo.height) // 2))
    light, blue, red = frame.convert("YCbCr").split()
    planes = light.tobytes() + blue.resize((320, 240)).tobytes() + red.resize((320, 240)).tobytes()
    path.write_bytes(b"YUV4MPEG2 W640 H480 F10:1 Ip A1:1 C420jpeg\n" + 10 * (b"FRAME\n" + planes))
    return path


@pytest.fixture
def customer(senses: Browser, whole: Running) -> Iterator[tuple[BrowserContext, Page]]:
    context = senses.new_context(
        locale="zh-CN", viewport={"width": 1280, "height": 900}, permissions=["microphone", "camera"]
    )
    context.set_default_timeout(30_000)
    page = context.new_page()
    page.goto(whole.url)
    page.get_by_role("button", name="打开在线客服").click()
    yield context, page
    context.close()


def test_a_customer_writes_speaks_shows_pastes_goes_offline_and_is_helped_by_a_person(
    customer: tuple[BrowserContext, Page], senses: Browser, whole: Running
) -> None:
    context, page = customer
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    field = page.locator("duomo-composer textarea")
    log = page.locator("duomo-chat .log")

    field.fill("多久能收到货？")
    field.press("Enter")
    expect(log.get_by_text("当天发出").first).to_be_visible(timeout=60_000)

    page.get_by_role("button", name="录制语音").click()
    page.wait_for_timeout(11_000)  # the microphone repeats its file: twice its length holds it whole
    page.get_by_role("button", name="发送语音").click()
    expect(log.get_by_text(re.compile("收货地址")).first).to_be_visible(timeout=60_000)

    page.get_by_role("button", name="拍照", exact=True).click()
    page.get_by_role("button", name="拍摄", exact=True).click()
    page.get_by_role("button", name="使用这张照片").click()
    page.get_by_role("button", name="发送", exact=True).click()
    expect(log.get_by_text(re.compile("E22")).first).to_be_visible(timeout=60_000)

    shot = (MEDIA / "screens" / "customer-payment-zh.png").read_bytes()
    Widget.transfer(type("_", (), {"page": page})(), "paste", "duomo-composer textarea", [("a.png", "image/png", shot)])  # type: ignore[arg-type]
    expect(page.locator("duomo-composer .thumb")).to_have_count(1)
    page.get_by_role("button", name="发送", exact=True).click()
    expect(log.get_by_text(re.compile("PAY-101")).first).to_be_visible(timeout=60_000)

    context.set_offline(True)
    field.fill("转人工")
    field.press("Enter")
    expect(page.locator("duomo-chat .strip")).to_be_visible()
    context.set_offline(False)

    agent = sign_in(senses, whole)
    agent.locator(".row").first.click()
    agent.get_by_role("button", name="Take over", exact=True).click()
    agent.locator(".composer textarea").fill("您好，我是美，地址已经帮您改好了。")
    agent.locator(".composer textarea").press("Enter")
    expect(log.get_by_text("地址已经帮您改好了").first).to_be_visible(timeout=30_000)

    agent.get_by_role("button", name="Resolve", exact=True).click()
    page.get_by_role("radio", name="5 分，满分 5 分").check(force=True)
    page.get_by_role("button", name="提交评价").click()
    expect(page.get_by_text("感谢您的评价").first).to_be_visible()
    expect(agent.locator(".conversation-head .status")).to_have_text("Resolved")
    assert [url for url in asked if not url.startswith((whole.url, "blob:", "data:"))] == []
    assert whole.network_log.read_text() == ""


def sign_in(browser: Browser, whole: Running) -> Page:
    context = browser.new_context(locale="en-GB", viewport={"width": 1440, "height": 900})
    context.set_default_timeout(30_000)
    page = context.new_page()
    page.goto(f"{whole.url}/console")
    page.locator("input[name=workspace]").fill("demo")
    page.locator("input[name=email]").fill(EMAIL)
    page.locator("input[name=password]").fill((whole.home / "password").read_text())
    page.locator("form button[type=submit]").click()
    expect(page.locator(".row").first).to_be_visible()
    return page
