"""How often somebody may do something.

The buckets live in this process: a refusal must cost less than what it refuses, and a restart may forgive. With N web
processes a caller therefore gets up to N times the stated rate.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from fastapi import Request

from duomo.errors import TooMany

_KEYS = 20_000  # callers remembered for one rate; about 3 MB


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float  # seconds, when `tokens` was right


class Rate:
    """Token buckets, one a caller: a burst of `burst`, then `per_minute` evenly."""

    def __init__(
        self, what: str, *, per_minute: float, burst: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._what = what
        self._per_second = per_minute / 60
        self._burst = per_minute if burst is None else burst
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, caller: str, *, amount: float = 1) -> None:
        """
        Raises:
            TooMany: fewer than `amount` are left; nothing was taken.
        """
        bucket = self._bucket(caller)
        if bucket.tokens < amount:
            missing = min(amount, self._burst) - bucket.tokens
            wait = math.ceil(missing / self._per_second) if self._per_second else 3600
            raise TooMany(f"too many {self._what}. Try again in {wait} s.", retry_after=max(1, wait))
        bucket.tokens -= amount

    def give_back(self, caller: str) -> None:
        """Undo one `take`: what was counted did not have to be."""
        bucket = self._bucket(caller)
        bucket.tokens = min(self._burst, bucket.tokens + 1)

    def _bucket(self, caller: str) -> _Bucket:
        now = self._clock()
        bucket = self._buckets.get(caller)
        if bucket is None:
            bucket = self._buckets[caller] = _Bucket(self._burst, now)
            if len(self._buckets) > _KEYS:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(caller)
        bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.at) * self._per_second)
        bucket.at = now
        return bucket


def address(request: Request) -> str:
    """Who is at the other end; behind a trusted proxy uvicorn has put the forwarded address here.

    Of IPv6 the first 64 bits: a subscriber has all the rest.
    """
    host = request.client.host if request.client else "local"
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return host
    return host if found.version == 4 else str(ipaddress.ip_network((found, 64), strict=False))
