#!/usr/bin/env python3
"""Draw docs/images/overview.png from a running demo service: the shop's chat beside the agent console.

duomo run --port 8080        # then, in another terminal
python scripts/screenshots.py http://127.0.0.1:8080 WORKSPACE EMAIL PASSWORD
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
MEDIA = ROOT / "src/duomo/scenarios/customer_service/media"
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
HEIGHT = 900


def main(url: str, workspace: str, email: str, password: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        pictures = [chat(browser, url), console(browser, url, workspace, email, password)]
        browser.close()
    width = sum(picture.width for picture in pictures) + 24
    sheet = Image.new("RGB", (width, HEIGHT), "#e9eeec")
    sheet.paste(pictures[0], (0, 0))
    sheet.paste(pictures[1], (pictures[0].width + 24, 0))
    (ROOT / "docs/images").mkdir(exist_ok=True)
    sheet.quantize(256).save(ROOT / "docs/images/overview.png", optimize=True)


def chat(browser: Browser, url: str) -> Image.Image:
    page = browser.new_context(locale="en-US", viewport={"width": 560, "height": HEIGHT}).new_page()
    page.goto(url)
    page.wait_for_timeout(1500)
    page.evaluate("document.querySelector('duomo-chat').open()")
    page.wait_for_timeout(800)
    page.locator("duomo-chat input[type=file]").first.set_input_files(MEDIA / "screens/customer-pairing-e12-en.png")
    page.wait_for_timeout(800)
    page.locator("duomo-chat textarea").first.fill("I cannot add the speaker. What does this code mean?")
    page.keyboard.press("Enter")
    page.wait_for_timeout(9000)
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def console(browser: Browser, url: str, workspace: str, email: str, password: str) -> Image.Image:
    page = browser.new_context(locale="en-US", viewport={"width": 1240, "height": HEIGHT}).new_page()
    page.goto(f"{url}/console")
    page.locator("input[type=email]").fill(email)
    page.locator("input[type=password]").fill(password)
    page.keyboard.press("Enter")
    page.wait_for_timeout(2500)
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_timeout(2500)
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


if __name__ == "__main__":
    main(*sys.argv[1:5])
