"""Ask a language model on any OpenAI-compatible server, and know when it failed.

A stream that ends without `finish_reason` was cut: servers that die mid-answer close it without an error. Nothing is
tried twice here; whoever asks falls back to quoting, which needs no model.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast

import openai
from openai.types.chat import ChatCompletionMessageParam

from duomo.errors import ConfigError, LLMUnavailable
from duomo.types import PartKind


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a model takes besides text, and whether it answers word by word."""

    image: bool = False
    audio: bool = False
    streaming: bool = True

    @classmethod
    def parse(cls, text: str) -> Capabilities:
        """From a list such as "text,image,streaming"; empty means text, streamed.

        Raises:
            ConfigError: a word that is none of text, image, audio, streaming.
        """
        words = {word.strip() for word in text.split(",") if word.strip()} or {"text", "streaming"}
        unknown = words - {"text", "image", "audio", "streaming"}
        if unknown:
            raise ConfigError(
                f"DUOMO_LLM_CAPABILITIES has {', '.join(sorted(unknown))}; known: text, image, audio, streaming."
            )
        return cls(image="image" in words, audio="audio" in words, streaming="streaming" in words)


@dataclass(frozen=True, slots=True)
class Attachment:
    """A clean file of the customer's, for models that take it as it is."""

    kind: PartKind
    mime: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Prompt:
    """Instructions of ours, and data of others, which the model must not obey."""

    instructions: str
    data: str
    attachments: Sequence[Attachment] = ()


class LLM(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def capabilities(self) -> Capabilities: ...

    def stream(self, prompt: Prompt) -> AsyncIterator[str]:
        """The answer, piece by piece; attachments it has no capability for are left out.

        Raises:
            LLMUnavailable: no answer, a late one, or one that was cut.
        """
        ...


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds."""

    first_token: float = 8.0
    between_tokens: float = 5.0
    total: float = 40.0


class Breaker:
    """Stops asking a server that fails: after `failures` in a row it is left alone for `rest_s`, then tried once.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, *, failures: int = 3, rest_s: float = 30.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = failures
        self._rest_s = rest_s
        self._clock = clock
        self._failed = 0
        self._closed_until = 0.0

    def check(self) -> None:
        """
        Raises:
            LLMUnavailable: it is resting.
        """
        if self._failed >= self._limit:
            if self._clock() < self._closed_until:
                raise LLMUnavailable(
                    f"the language model failed {self._failed} times in a row and is left alone for now"
                )
            self._closed_until = self._clock() + self._rest_s  # one caller tries; the others go on waiting

    def succeeded(self) -> None:
        self._failed = 0

    def failed(self) -> None:
        self._failed += 1
        self._closed_until = self._clock() + self._rest_s


class OpenAICompatible:
    """A chat model behind an OpenAI-compatible HTTP interface: vLLM, SGLang, Ollama, llama.cpp, a hosted one."""

    def __init__(
        self,
        url: str,
        *,
        model: str,
        key: str = "",
        capabilities: Capabilities = Capabilities(),
        deadlines: Deadlines = Deadlines(),
        breaker: Breaker | None = None,
        max_tokens: int = 700,
    ) -> None:
        self.name = model
        self.capabilities = capabilities
        self._deadlines = deadlines
        self._breaker = breaker or Breaker()
        self._max_tokens = max_tokens
        self._client = openai.AsyncOpenAI(base_url=url, api_key=key or "none", max_retries=0, timeout=deadlines.total)

    async def close(self) -> None:
        await self._client.close()

    async def stream(self, prompt: Prompt) -> AsyncIterator[str]:
        self._breaker.check()
        try:
            async for piece in self._pieces(prompt):
                yield piece
        except LLMUnavailable:
            self._breaker.failed()
            raise
        except TimeoutError as error:
            self._breaker.failed()
            raise LLMUnavailable("the language model took too long") from error
        except openai.OpenAIError as error:
            self._breaker.failed()
            raise LLMUnavailable(f"the language model's server failed: {type(error).__name__}") from error
        self._breaker.succeeded()

    async def _pieces(self, prompt: Prompt) -> AsyncIterator[str]:
        ends = asyncio.get_running_loop().time() + self._deadlines.total
        if not self.capabilities.streaming:
            async with asyncio.timeout_at(ends):
                whole = await self._client.chat.completions.create(
                    model=self.name, messages=self._messages(prompt), max_tokens=self._max_tokens, temperature=0.0
                )
            _check_finish(whole.choices[0].finish_reason if whole.choices else None)
            yield whole.choices[0].message.content or ""
            return
        async with asyncio.timeout_at(self._next(ends, self._deadlines.first_token)):
            stream = await self._client.chat.completions.create(
                model=self.name,
                messages=self._messages(prompt),
                max_tokens=self._max_tokens,
                temperature=0.0,
                stream=True,
            )
        async with stream:
            chunks = aiter(stream)
            wait, finish = self._deadlines.first_token, None
            while True:
                async with asyncio.timeout_at(self._next(ends, wait)):
                    chunk = await anext(chunks, None)
                if chunk is None:
                    break
                if not chunk.choices:
                    continue
                finish = chunk.choices[0].finish_reason or finish
                if piece := chunk.choices[0].delta.content:
                    wait = self._deadlines.between_tokens
                    yield piece
        _check_finish(finish)

    def _next(self, ends: float, wait_s: float) -> float:
        return min(ends, asyncio.get_running_loop().time() + wait_s)

    def _messages(self, prompt: Prompt) -> list[ChatCompletionMessageParam]:
        content: list[dict[str, Any]] = [{"type": "text", "text": prompt.data}]
        for file in prompt.attachments:
            if file.kind == "image" and self.capabilities.image:
                url = f"data:{file.mime};base64,{_base64(file.data)}"
                content.append({"type": "image_url", "image_url": {"url": url}})
            elif file.kind == "audio" and self.capabilities.audio:
                form = file.mime.removeprefix("audio/").removeprefix("x-")
                content.append({"type": "input_audio", "input_audio": {"data": _base64(file.data), "format": form}})
        system = {"role": "system", "content": prompt.instructions}
        # Plain text where nothing is attached: small servers know no lists.
        user = {"role": "user", "content": content if len(content) > 1 else prompt.data}
        return cast(list[ChatCompletionMessageParam], [system, user])


Finish = Literal["stop", "length", "tool_calls", "content_filter", "function_call"]


def _check_finish(reason: Finish | str | None) -> None:
    if reason is None:
        raise LLMUnavailable("the language model's answer was cut")
    if reason != "stop":
        raise LLMUnavailable(f"the language model's answer is not whole: it ended by {reason}")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
