"""How sure a share is."""

from __future__ import annotations

import math
from typing import NamedTuple

_Z = 1.959963984540054  # standard normal quantile of 0.975


class Share(NamedTuple):
    """`k` of `n`, with a 95 % interval."""

    k: int
    n: int
    rate: float | None  # None: of nothing there is no share
    low: float
    high: float


def share(k: int, n: int) -> Share:
    """A share with its Wilson score interval, which holds at few cases and near 0 and 1 too.

    Source: Wilson 1927, Journal of the American Statistical Association 22(158), equation 4 solved for p.
    """
    if n == 0:
        return Share(k, n, None, 0.0, 1.0)
    rate, z2 = k / n, _Z * _Z
    centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z / (1 + z2 / n) * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n))
    return Share(k, n, rate, 0.0 if k == 0 else max(0.0, centre - half), 1.0 if k == n else min(1.0, centre + half))
