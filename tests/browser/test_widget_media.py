"""A customer shows pictures, sends documents, speaks, and corrects what was understood."""

from __future__ import annotations

import io
import wave

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.fake_server import Conversation, FakeServer, artifact, picture
from tests.browser.widget_page import Widget, until_received


def dominant_frequency(samples: np.ndarray, rate: int) -> float:
    """Hz of the strongest part."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * rate / len(samples))


def test_a_picture_chosen_as_a_file_arrives_byte_for_byte_with_its_words(page: Page, server: FakeServer) -> None:
    widget = Widget(page, server).visit().open()
    widget.attach("display.png", "image/png", picture())
    expect(page.locator("duomo-composer img.thumb")).to_have_attribute("alt", "display.png")
    widget.field.fill("What is this?")
    widget.send()
    expect(page.locator("duomo-message button.picture img")).to_have_js_property("naturalWidth", 640)
    assert [(one.text, one.files) for one in server.received] == [
        ("What is this?", [("display.png", "image/png", picture())])
    ]
    expect(page.locator("duomo-composer .thumb")).to_have_count(0)


def test_pictures_can_be_pasted_and_dropped_and_taken_out_again(page: Page, server: FakeServer) -> None:
    widget = Widget(page, server).visit().open()
    widget.transfer("paste", "duomo-composer textarea", [("image.png", "image/png", picture("E1"))])
    expect(page.locator("duomo-composer .thumb")).to_have_count(1)
    widget.transfer("dragenter", "duomo-chat .panel", [("b.png", "image/png", picture("E2"))])
    expect(page.get_by_text("Drop pictures or documents here")).to_be_visible()
    dropped = [("b.png", "image/png", picture("E2")), ("manual.pdf", "application/pdf", b"%PDF-1.7")]
    widget.transfer("drop", "duomo-chat .panel", dropped)
    expect(page.get_by_text("Drop pictures or documents here")).to_have_count(0)
    expect(page.locator("duomo-composer .files li")).to_have_count(3)
    widget.button("Remove image.png").click()
    widget.send()
    until_received(page, server, 1)
    assert [one.files for one in server.received] == [dropped]
    expect(page.locator("duomo-message a.file")).to_have_text("manual.pdf")


def test_a_file_that_is_too_large_or_of_a_wrong_kind_is_refused_before_it_is_sent(
    page: Page, server: FakeServer
) -> None:
    widget = Widget(page, server).visit().open()
    expect(page.locator("duomo-chat .welcome")).to_be_visible()
    widget.attach("setup.exe", "application/x-msdownload", b"MZ")
    alert = page.locator("duomo-composer [role=alert]")
    expect(alert).to_contain_text("setup.exe: This kind of file is not supported.")
    widget.attach("long.pdf", "application/pdf", b"%PDF" + bytes(3 * 1024 * 1024))
    expect(alert).to_contain_text("long.pdf: This file is too large (3 MB). Up to 2 MB is possible.")
    expect(page.locator("duomo-composer .files")).to_have_count(0)


def test_a_picture_over_the_limit_is_made_smaller_instead(page: Page, server: FakeServer) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (1200, 1000, 3), dtype=np.uint8))
    out = io.BytesIO()
    noise.save(out, "PNG")
    assert out.tell() > 2 * 1024 * 1024
    widget = Widget(page, server).visit().open()
    expect(page.locator("duomo-chat .welcome")).to_be_visible()
    widget.attach("big.png", "image/png", out.getvalue())
    expect(page.locator("duomo-composer .thumb")).to_have_count(1)
    widget.send()
    until_received(page, server, 1)
    [(name, mime, data)] = server.received[0].files
    assert (name, mime, Image.open(io.BytesIO(data)).size) == ("big.jpg", "image/jpeg", (1000, 1200))
    assert len(data) <= 2 * 1024 * 1024


def test_a_photo_of_the_camera_is_looked_at_and_then_sent(page: Page, server: FakeServer) -> None:
    widget = Widget(page, server).visit().open()
    widget.button("Take a photo").click()
    page.get_by_role("button", name="Take the photo").click()
    expect(page.get_by_role("img", name="The photo just taken")).to_be_visible()
    widget.button("Take it again").click()
    page.get_by_role("button", name="Take the photo").click()
    widget.button("Use this photo").click()
    expect(page.locator("duomo-composer .thumb")).to_have_count(1)
    widget.send()
    until_received(page, server, 1)
    [(name, mime, data)] = server.received[0].files
    photo = Image.open(io.BytesIO(data)).convert("RGB")
    assert (name[:6], mime, photo.format or "JPEG") == ("photo-", "image/jpeg", "JPEG")
    red, green, blue = photo.getpixel((5, 5))  # Chromium's fake camera shows a green field
    assert green > 100 > max(red, blue)


def test_without_a_camera_a_picture_can_be_chosen(page: Page, server: FakeServer) -> None:
    widget = Widget(page, server).visit().open()
    page.evaluate(
        "() => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', 'NotAllowedError')); }"
    )
    widget.button("Take a photo").click()
    expect(page.get_by_role("alert")).to_contain_text("The camera is blocked.")
    with page.expect_file_chooser() as chooser:
        widget.button("Choose a picture").click()
    chooser.value.set_files([{"name": "a.png", "mimeType": "image/png", "buffer": picture()}])
    expect(page.locator("duomo-composer .thumb")).to_have_count(1)


def test_a_voice_note_arrives_as_16_khz_mono_with_what_was_said_and_how_long(page: Page, server: FakeServer) -> None:
    widget = Widget(page, server).visit().open()
    widget.button("Record a voice note").click()
    clock = page.get_by_role("timer")
    expect(clock).to_have_text("0:02")
    meter = page.get_by_role("meter")
    assert int(meter.get_attribute("aria-valuenow") or 0) > 30  # the fake microphone is loud
    widget.button("Stop and listen").click()
    shown = page.locator("duomo-composer duomo-audio .time")
    expect(shown).to_be_visible()
    shown_s = [int(part) for part in shown.inner_text().split(":")]
    widget.button("Send voice note").click()
    until_received(page, server, 1)
    [(name, mime, data)] = server.received[0].files
    with wave.open(io.BytesIO(data)) as file:
        form = (file.getframerate(), file.getnchannels(), file.getsampwidth())
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    assert (name, mime, form) == ("voice-note.wav", "audio/wav", (16000, 1, 2))
    assert len(samples) / 16000 >= 1.9
    assert shown_s == list(divmod(round(len(samples) / 16000), 60))
    assert dominant_frequency(samples, 16000) == pytest.approx(300, abs=3)


def test_a_discarded_recording_goes_nowhere(page: Page, server: FakeServer) -> None:
    widget = Widget(page, server).visit().open()
    widget.button("Record a voice note").click()
    expect(page.get_by_role("timer")).to_have_text("0:01")
    widget.button("Discard recording").click()
    expect(widget.field).to_be_visible()
    assert widget.focused() == "Record a voice note"
    widget.say("Instead of it")
    widget.expect_texts("Instead of it", "You wrote: Instead of it")
    assert [one.files for one in server.received] == [[]]


def test_a_blocked_microphone_says_what_to_do(page: Page, server: FakeServer) -> None:
    widget = Widget(page, server, lang="zh").visit().open()
    page.evaluate(
        "() => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', 'NotAllowedError')); }"
    )
    widget.button("录制语音").click()
    expect(page.locator("duomo-composer [role=alert]")).to_contain_text(
        "麦克风被禁用。请在浏览器地址栏中允许使用麦克风"
    )


def test_what_was_heard_can_be_corrected_and_the_bot_answers_again(page: Page, server: FakeServer) -> None:
    server.perceive = [artifact("transcript", "收获地址怎么改", 0.93)]
    server.answer = lambda server, conversation, message: None
    widget = Widget(page, server).visit().open()
    widget.button("Record a voice note").click()
    expect(page.get_by_role("timer")).to_have_text("0:01")
    widget.button("Send voice note").click()
    understood = page.locator("duomo-message .artifact")
    expect(understood.locator(".label")).to_have_text("Heard:")
    widget.button("Correct what was understood: 收获地址怎么改").click()
    field = page.get_by_label("What it should say")
    expect(field).to_be_focused()
    field.fill("收货地址怎么改")
    field.press("Enter")
    expect(understood).to_contain_text("收货地址怎么改")
    expect(understood).to_contain_text("corrected by you")
    [part] = server.conversation.messages[server.received[0].id]["parts"]
    assert server.calls == [(f"artifacts/{part['artifacts'][0]['id']}", {"text": "收货地址怎么改"})]


def test_a_doubtful_transcript_says_so_and_empty_pictures_say_nothing(page: Page, server: FakeServer) -> None:
    server.perceive = [artifact("transcript", "my left earphone", 0.41)]
    widget = Widget(page, server).visit().open()
    widget.attach("note.wav", "audio/wav", bytes(44))
    widget.send()
    expect(page.locator("duomo-message .artifact.unsure .label")).to_have_text("Not sure I heard this right:")
    server.perceive = [artifact("ocr", "", 0.0), artifact("picture_kind", "photo", 0.9)]
    widget.attach("photo.png", "image/png", picture())
    widget.send()
    expect(page.locator("duomo-message button.picture")).to_have_count(1)
    expect(page.locator("duomo-message .artifact")).to_have_count(1)


def test_a_refused_file_says_why_in_the_customers_language(page: Page, server: FakeServer) -> None:
    def refuse(server: FakeServer, conversation: Conversation, message: dict[str, object]) -> None:
        part = conversation.messages[str(message["id"])]["parts"][0]
        part.update(state="refused", url=None, error={"code": "bad_media", "message": "not a picture"})
        conversation.emit("update", conversation.messages[str(message["id"])])

    server.answer = refuse
    widget = Widget(page, server, lang="zh").visit().open()
    widget.attach("broken.png", "image/png", picture())
    widget.send()
    expect(page.locator("duomo-message .refused")).to_contain_text(
        "文件已损坏，或内容与类型不符。请换一份，或发送截图。"
    )


def test_the_widget_says_what_it_is_doing_with_a_voice_note(page: Page, server: FakeServer) -> None:
    def listen(server: FakeServer, conversation: Conversation, message: dict[str, object]) -> None:
        conversation.emit("turn", {"state": "working", "waiting_for": ["audio"]})

    server.answer = listen
    widget = Widget(page, server).visit().open()
    widget.attach("note.wav", "audio/wav", bytes(44))
    widget.send()
    expect(page.locator("duomo-chat .working")).to_have_text("Listening to your voice note…")
    server.conversation.emit("turn", {"state": "waiting", "waiting_for": ["audio"]})
    expect(page.locator("duomo-chat .working")).to_have_text("Still listening to your voice note…")
    server.conversation.message("bot", "Done.")
    server.conversation.emit("turn", {"state": "done", "waiting_for": []})
    expect(page.locator("duomo-chat .working")).to_have_count(0)
