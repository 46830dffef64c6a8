"""An OpenAI-compatible server of our own that streams, stalls, cuts and fails."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from duomo.errors import ConfigError, LLMUnavailable
from duomo.models.llm import Attachment, Breaker, Capabilities, Deadlines, OpenAICompatible, Prompt

Write = Callable[[bytes], Awaitable[None]]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


def chunk(text: str | None, finish: str | None = None) -> bytes:
    delta = {} if text is None else {"content": text}
    body = {
        "id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }  # fmt: skip
    return b"data: " + json.dumps(body).encode() + b"\n\n"


class Server:
    """Answers every request by `script`, which writes what it likes; then the connection ends."""

    def __init__(self, script: Callable[[Write], Awaitable[None]]) -> None:
        self.script = script
        self.asked: list[dict[str, object]] = []
        self.url = ""
        self.running: set[asyncio.Task[None] | None] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
        )
        self.asked.append(json.loads(await reader.readexactly(length)))

        async def write(data: bytes) -> None:
            writer.write(data)
            await writer.drain()

        self.running.add(asyncio.current_task())
        try:
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):  # the client hung up, or the test ended
                await self.script(write)
        finally:
            writer.close()


@asynccontextmanager
async def serving(script: Callable[[Write], Awaitable[None]]) -> AsyncIterator[Server]:
    answering = Server(script)
    listening = await asyncio.start_server(answering.serve, "127.0.0.1", 0)
    answering.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"
    try:
        yield answering
    finally:
        listening.close()
        tasks = [task for task in answering.running if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await listening.wait_closed()


async def whole(write: Write) -> None:
    await write(HEAD + chunk("Hello") + chunk(" there") + chunk(None, "stop") + b"data: [DONE]\n\n")


async def pieces(model: OpenAICompatible, prompt: Prompt | None = None) -> list[str]:
    try:
        return [piece async for piece in model.stream(prompt or Prompt("be brief", "hi"))]
    finally:
        await model.close()


async def test_pieces_come_as_the_server_sends_them() -> None:
    async with serving(whole) as server:
        assert await pieces(OpenAICompatible(server.url, model="m", key="k")) == ["Hello", " there"]
    assert server.asked[0]["messages"] == [
        {"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"},
    ]  # fmt: skip
    assert "tools" not in server.asked[0]


async def test_a_stream_that_ends_without_a_finish_reason_was_cut() -> None:
    async def cut(write: Write) -> None:
        await write(HEAD + chunk("The price is 3"))

    async with serving(cut) as server:
        given: list[str] = []
        model = OpenAICompatible(server.url, model="m")
        with pytest.raises(LLMUnavailable, match="was cut"):
            async for piece in model.stream(Prompt("", "hi")):
                given.append(piece)
        await model.close()
    assert given == ["The price is 3"]
    assert len(server.asked) == 1  # nothing is asked twice


async def test_an_answer_that_ran_out_of_tokens_is_not_whole() -> None:
    async def long(write: Write) -> None:
        await write(HEAD + chunk("The price") + chunk(None, "length"))

    async with serving(long) as server:
        with pytest.raises(LLMUnavailable, match="not whole: it ended by length"):
            await pieces(OpenAICompatible(server.url, model="m"))


@pytest.mark.parametrize("before", [b"", HEAD, HEAD + chunk("The")])
async def test_a_server_that_falls_silent_is_given_up(before: bytes) -> None:
    async def silent(write: Write) -> None:
        await write(before)
        await asyncio.sleep(30)

    deadlines = Deadlines(first_token=0.3, between_tokens=0.3, total=5)
    async with serving(silent) as server:
        with pytest.raises(LLMUnavailable, match="took too long"):
            await pieces(OpenAICompatible(server.url, model="m", deadlines=deadlines))


async def test_a_server_that_drips_for_ever_is_given_up_in_total() -> None:
    async def drip(write: Write) -> None:
        await write(HEAD)
        while True:
            await write(chunk("a"))
            await asyncio.sleep(0.05)

    async with serving(drip) as server:
        with pytest.raises(LLMUnavailable, match="took too long"):
            await pieces(OpenAICompatible(server.url, model="m", deadlines=Deadlines(total=0.5)))


async def test_a_failing_server_is_left_alone_then_tried_once() -> None:
    now = 0.0

    async def broken(write: Write) -> None:
        await write(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    breaker = Breaker(failures=2, rest_s=30, clock=lambda: now)
    async with serving(broken) as server:

        async def ask() -> str:
            try:
                return "".join(await pieces(OpenAICompatible(server.url, model="m", breaker=breaker)))
            except LLMUnavailable as error:
                return str(error)

        assert [await ask() for _ in range(3)] == [
            "the language model's server failed: InternalServerError",
            "the language model's server failed: InternalServerError",
            "the language model failed 2 times in a row and is left alone for now",
        ]
        assert len(server.asked) == 2
        now = 31.0
        server.script = whole
        assert [await ask() for _ in range(2)] == ["Hello there", "Hello there"]


async def test_files_are_sent_to_models_that_take_them_and_to_no_others() -> None:
    files = (Attachment("image", "image/png", b"png"), Attachment("audio", "audio/wav", b"wav"))
    async with serving(whole) as server:
        for capabilities in (Capabilities(), Capabilities(image=True), Capabilities(image=True, audio=True)):
            model = OpenAICompatible(server.url, model="m", capabilities=capabilities)
            await pieces(model, Prompt("", "hi", files))
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,cG5n"}}
    audio = {"type": "input_audio", "input_audio": {"data": "d2F2", "format": "wav"}}
    text = {"type": "text", "text": "hi"}
    contents = [asked["messages"][1]["content"] for asked in server.asked]  # type: ignore[index]
    assert contents == ["hi", [text, image], [text, image, audio]]


async def test_a_model_that_does_not_stream_answers_at_once() -> None:
    async def at_once(write: Write) -> None:
        message = {"role": "assistant", "content": "Hello there"}
        body = json.dumps(
            {
                "id": "1", "object": "chat.completion", "created": 1, "model": "m",
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            }
        ).encode()  # fmt: skip
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        await write(head.encode() + body)

    async with serving(at_once) as server:
        model = OpenAICompatible(server.url, model="m", capabilities=Capabilities(streaming=False))
        assert await pieces(model) == ["Hello there"]


def test_capabilities_are_read_from_words() -> None:
    assert Capabilities.parse("text, image") == Capabilities(image=True, streaming=False)
    assert Capabilities.parse("") == Capabilities()
    with pytest.raises(ConfigError, match="has smell; known: text, image, audio, streaming"):
        Capabilities.parse("text,smell")
