"""Early and intermediate fusion as torch modules, several replicas side by side.

F = f_T(T) ⊕ f_I(I) ⊕ f_A(A): the encoders f run once, before; here are the adapters behind them, the operator ⊕ and the
heads. Cross-validation trains one network a fold. They differ only in the rows they may see, so every parameter has a
leading dimension R, one entry a replica, and all folds train in the same matrix products.

Shapes in this module: R replicas, B rows, K modalities, D_k features of modality k, H hidden units, O outputs of a
head.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from duomo.errors import ConfigError
from duomo.learn.task import Operator

Kind = Literal["early", "intermediate"]
TOKENS = 4  # tokens a modality gives to the attention operators
RANK = 4  # of the low-rank tensor; Liu 2018 find 4 enough
TENSOR_DIM = 12  # units a modality keeps before the outer product, whose size is (TENSOR_DIM + 1) ** K
TENSOR_MOST = 3  # modalities the outer product takes
BOTTLENECK = 4  # shared tokens; Nagrani 2021 use 4


@dataclass(frozen=True)
class Shape:
    """What a network is made of: enough to build it again before its weights are loaded."""

    kind: Kind
    operator: Operator
    dims: tuple[int, ...]  # D_k
    outputs: Mapping[str, int]  # O of each head
    hidden: int
    dropout: float
    plain: bool = False  # adapters ReLU(W z + b) without normalisation, and ReLU in Concat: the founding network
    turns: tuple[int, ...] = ()  # of each modality that is a sequence of turns, else 0; empty: none is


class Noise:
    """Dropout that does not depend on how many processes share a batch.

    Every process draws for the whole batch from the same generator and keeps its own rows; replicas share a mask.
    """

    def __init__(self, seed: int, *, rows: int, mine: slice) -> None:
        """
        Args:
            rows: of the whole batch. mine: those of this process.
        """
        self._generator = torch.Generator().manual_seed(seed)
        self._rows, self._mine = rows, mine

    def dropout(self, x: Tensor, share: float) -> Tensor:
        """Zero `share` of the units of x (..., B, H) and scale up the rest."""
        if share <= 0:
            return x
        kept = torch.rand(self._rows, x.shape[-1], generator=self._generator) >= share
        return x * (kept[self._mine].to(x.device, x.dtype) / (1 - share))

    def uniform(self, columns: int) -> Tensor:
        """(B, columns) in [0, 1)."""
        return torch.rand(self._rows, columns, generator=self._generator)[self._mine]

    def normal(self, x: Tensor, scale: float) -> Tensor:
        """Add Gaussian noise of standard deviation `scale` to x (B, D)."""
        drawn = torch.randn(self._rows, x.shape[-1], generator=self._generator)
        return x + scale * drawn[self._mine].to(x.device, x.dtype)


class Linear(nn.Module):
    """R linear maps: (R, B, I) or (B, I), then shared, -> (R, B, O)."""

    def __init__(self, replicas: int, inputs: int, outputs: int, *, seeds: torch.Generator) -> None:
        super().__init__()
        bound = 1 / math.sqrt(max(inputs, 1))
        drawn = (torch.rand(1, inputs, outputs, generator=seeds) * 2 - 1) * bound
        self.weight = nn.Parameter(drawn.repeat(replicas, 1, 1))  # every fold starts at the same place
        self.bias = nn.Parameter(torch.zeros(replicas, 1, outputs))

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() == 2:
            x = x.expand(len(self.weight), -1, -1)
        return torch.baddbmm(self.bias, x, self.weight)


class Norm(nn.Module):
    """Layer normalisation with R gains and offsets."""

    def __init__(self, replicas: int, units: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(replicas, 1, units))
        self.offset = nn.Parameter(torch.zeros(replicas, 1, units))

    def forward(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x, x.shape[-1:]) * self.gain + self.offset


def _attend(query: Tensor, key: Tensor, value: Tensor, allowed: Tensor) -> Tensor:
    """Scaled dot-product attention: query (R, B, Q, H), key and value (R, B, T, H), allowed (B, T) or (R, B, T)."""
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])  # (R, B, Q, T)
    scores = scores.masked_fill(~allowed.unsqueeze(-2), -1e4)
    return scores.softmax(-1) @ value


class Turns(nn.Module):
    """Earlier turns of a conversation as one vector: attention with a learned query and a preference by distance.

    (R, B, T·E), turns that do not exist are zeros, -> (R, B, E).
    """

    def __init__(self, replicas: int, turns: int, dim: int, *, seeds: torch.Generator) -> None:
        super().__init__()
        self.turns = turns
        self.query = Linear(replicas, dim, 1, seeds=seeds)
        self.distance = nn.Parameter(torch.zeros(replicas, 1, turns))

    def forward(self, x: Tensor) -> Tensor:
        shape = (len(self.distance), x.shape[-2], self.turns, x.shape[-1] // self.turns)
        rows = x.expand(shape[0], -1, -1).reshape(shape)  # (R, B, T, E)
        there = rows.abs().sum(-1) > 0  # (R, B, T)
        scores = self.query(rows.flatten(1, 2)).reshape(shape[:3]) + self.distance
        weights = scores.masked_fill(~there, -1e4).softmax(-1)
        return torch.as_tensor((weights.unsqueeze(-1) * rows).sum(2))


def check_operator(name: Operator, k: int) -> None:
    """
    Raises:
        ConfigError: the full tensor with more than three modalities.
    """
    if name == "tensor" and k > TENSOR_MOST:
        raise ConfigError(
            f"operator tensor takes at most {TENSOR_MOST} modalities, here are {k}: the outer product would have "
            f"{(TENSOR_DIM + 1) ** k} entries. Use low_rank, its factorised form."
        )


class Operators:
    """Factory of the operator ⊕ by its name in `task.yaml`."""

    @staticmethod
    def make(name: Operator, replicas: int, k: int, hidden: int, seeds: torch.Generator) -> nn.Module:
        """
        Raises:
            ConfigError: the full tensor with more than three modalities.
        """
        check_operator(name, k)
        kinds: dict[str, type[_Operator]] = {
            "concat": Concat, "sum": Sum, "gated": Gated, "low_rank": LowRank, "tensor": OuterProduct,
            "cross_attention": CrossAttention, "bottleneck": Bottleneck,
        }  # fmt: skip
        return kinds[name](replicas, k, hidden, seeds)


class _Operator(nn.Module):
    """(R, B, K, H) adapters' outputs and (B, K) or (R, B, K) presence -> (R, B, H).

    A missing modality's row already holds its learned token, the same for every sample.
    """

    def __init__(self, replicas: int, k: int, hidden: int, seeds: torch.Generator) -> None:
        super().__init__()


class Concat(_Operator):
    """[h_1; …; h_K] -> H, the founding text's 384 -> 128."""

    def __init__(self, replicas: int, k: int, hidden: int, seeds: torch.Generator) -> None:
        super().__init__(replicas, k, hidden, seeds)
        self.mix = Linear(replicas, k * hidden, hidden, seeds=seeds)

    def forward(self, h: Tensor, present: Tensor) -> Tensor:
        return functional.gelu(self.mix(h.flatten(2)))


class PlainConcat(Concat):
    """As Concat, with ReLU: the founding network's 384 -> 128."""

    def forward(self, h: Tensor, present: Tensor) -> Tensor:
        return functional.relu(self.mix(h.flatten(2)))


class Sum(_Operator):
    """Σ_k h_k / K."""

    def forward(self, h: Tensor, present: Tensor) -> Tensor:
        return h.mean(2)


class Gated(_Operator):
    """Gated multimodal unit: Σ_k g_k tanh(V_k h_k), g = softmax(W [h_1; …; h_K]) over the present modalities.

    Source: Arevalo et al. 2017, arXiv:1702.01992; softmax, not sigmoid, as there may be three modalities.
    """

    def __init__(self, replicas: int, k: int, hidden: int, seeds: torch.Generator) -> None:
        super().__init__(replicas, k, hidden, seeds)
        self.gate = Linear(replicas, k * hidden, k * hidden, seeds=seeds)
        self.values = nn.ModuleList(Linear(replicas, hidden, hidden, seeds=seeds) for _ in range(k))

    def forward(self, h: Tensor, present: Tensor) -> Tensor:
        gates = self.gate(h.flatten(2)).view(h.shape)  # (R, B, K, H)
        gates = gates.masked_fill(~present.unsqueeze(-1), -1e4).softmax(2)
        values = torch.stack([value(h[:, :, i]) for i, value in enumerate(self.values)], 2).tanh()
        return torch.as_tensor((gates * values).sum(2))


class LowRank(_Operator):
    """Σ_r Π_k W_k^r [h_k; 1]: the tensor of all interactions without writing it down. Source: Liu et al. 2018,
    arXiv:1806.00064."""

    def __init__(self, replicas: int, k: int, hidden: int, seeds: torch.Generator) -> None:
        super().__init__(replicas, k, hidden, seeds)
        self.factors = nn.ModuleList(Linear(replicas, hidden, RANK * hidden, seeds=seeds) for _ in range(k))
        for factor in self.factors:
            nn.init.ones_(factor.bias)  # type: ignore[arg-type]  # the appended 1: each product starts near the sum
        self.norm = Norm(replicas, hidden)

    def forward(self, h: Tensor, present: Tensor) -> Tensor:
        product = self.factors[0](h[:, :, 0])
        for i in range(1, len(self.factors)):
            product = product * self.factors[i](h[:, :, i])
        return torch.as_tensor(self.norm(product.view(*product.shape[:2], RANK, h.shape[-1]).sum(2)))


class OuterProduct(_Operator):
    """⊗_k [u_k; 1], u_k = tanh(W_k h_k): every interaction of up to three modalities. Source: Zadeh et al. 2017,
    arXiv:1707.07250."""

    def __init__(self, replicas: int, k: int, hidden: int, seeds: torch.Generator) -> None:
        super().__init__(replicas, k, hidden, seeds)
        self.small = nn.ModuleList(Linear(replicas, hidden, TENSOR_DIM, seeds=seeds) for _ in range(k))
        self.mix = Linear(replicas, (TENSOR_DIM + 1) ** k, hidden, seeds=seeds)

    def forward(self, h: Tensor, present: Tensor) -> Tensor:
        product = torch.ones(*h.shape[:2], 1, dtype=h.dtype, device=h.device)
        for i, small in enumerate(self.small):
            unit = functional.pad(small(h[:, :, i]).tanh(), (0, 1), value=1.0)  # (R, B, TENSOR_DIM + 1)
            product = (product.unsqueeze(-1) * unit.unsqueeze(-2)).flatten(2)
        return functional.gelu(self.mix(product))


class _Tokens(_Operator):
    """Each modality as TOKENS tokens of H units, for the attention operators."""

    def __init__(self, replicas: int, k: int, hidden: int, seeds: torch.Generator) -> None:
        super().__init__(replicas, k, hidden, seeds)
        self.cut = nn.ModuleList(Linear(replicas, hidden, TOKENS * hidden, seeds=seeds) for _ in range(k))
        self.norm = Norm(replicas, hidden)

    def tokens(self, h: Tensor) -> list[Tensor]:
        """K tensors (R, B, TOKENS, H)."""
        return [cut(h[:, :, i]).view(*h.shape[:2], TOKENS, h.shape[-1]) for i, cut in enumerate(self.cut)]


class CrossAttention(_Tokens):
    """Every modality asks every other one what it holds; the mean of the answers. Source: MulT, Tsai et al. 2019,
    arXiv:1906.00295, with one layer over the encoders' pooled states."""

    def __init__(self, replicas: int, k: int, hidden: int, seeds: torch.Generator) -> None:
        super().__init__(replicas, k, hidden, seeds)
        self.query, self.key, self.value = (Linear(replicas, hidden, hidden, seeds=seeds) for _ in range(3))

    def forward(self, h: Tensor, present: Tensor) -> Tensor:
        tokens = torch.cat(self.tokens(h), 2)  # (R, B, K·TOKENS, H)
        flat = tokens.flatten(1, 2)
        query, key, value = (part(flat).view(tokens.shape) for part in (self.query, self.key, self.value))
        allowed = present.repeat_interleave(TOKENS, -1)
        told = tokens + _attend(query, key, value, allowed)  # (R, B, K·TOKENS, H)
        weight = allowed.to(h.dtype).unsqueeze(-1)
        return torch.as_tensor(self.norm((told * weight).sum(2) / weight.sum(-2).clamp(min=1)))


class Bottleneck(_Tokens):
    """Modalities meet only in a few shared tokens: each reads them with its own, their mean goes on. Source: MBT,
    Nagrani et al. 2021, arXiv:2107.00135, one layer."""

    def __init__(self, replicas: int, k: int, hidden: int, seeds: torch.Generator) -> None:
        super().__init__(replicas, k, hidden, seeds)
        self.shared = nn.Parameter(
            torch.randn(1, 1, BOTTLENECK, hidden, generator=seeds).repeat(replicas, 1, 1, 1) * 0.1
        )
        self.query, self.key, self.value = (Linear(replicas, hidden, hidden, seeds=seeds) for _ in range(3))

    def forward(self, h: Tensor, present: Tensor) -> Tensor:
        shared = self.shared.expand(-1, h.shape[1], -1, -1)
        query = self.query(shared.flatten(1, 2)).view(shared.shape)
        total = torch.zeros_like(shared)
        for i, own in enumerate(self.tokens(h)):
            seen = torch.cat([own, shared], 2)
            key, value = (part(seen.flatten(1, 2)).view(seen.shape) for part in (self.key, self.value))
            here = present[..., i : i + 1]
            allowed = torch.cat(
                [here.expand(*here.shape[:-1], TOKENS), torch.ones_like(here).expand(*here.shape[:-1], BOTTLENECK)], -1
            )
            told = _attend(query, key, value, allowed)
            total = total + told * here.to(h.dtype).unsqueeze(-1)
        count = present.to(h.dtype).sum(-1).clamp(min=1)[..., None, None]
        return torch.as_tensor(self.norm((shared + total / count).mean(2)))


class FusionNetwork(nn.Module):
    """Adapters, operator and heads; early fusion is the case of one adapter over all features.

    A missing modality is a learned token, in training and at inference; what its features hold is never read.
    """

    def __init__(self, shape: Shape, *, replicas: int, seed: int) -> None:
        super().__init__()
        self.shape, self.replicas = shape, replicas
        seeds = torch.Generator().manual_seed(seed)
        k, hidden = len(shape.dims), shape.hidden
        if shape.kind == "early":
            self.tokens = nn.ParameterList(nn.Parameter(torch.zeros(replicas, 1, d)) for d in shape.dims)
            self.adapters = nn.ModuleList([Linear(replicas, sum(shape.dims), hidden, seeds=seeds)])
            self.norms = nn.ModuleList([Norm(replicas, hidden)])
            self.operator: nn.Module = nn.Identity()
        else:
            self.tokens = nn.ParameterList(nn.Parameter(torch.zeros(replicas, 1, hidden)) for _ in shape.dims)
            turns = shape.turns or (0,) * k
            widths = [d // t if t else d for d, t in zip(shape.dims, turns, strict=True)]
            self.pools = nn.ModuleList(
                Turns(replicas, t, width, seeds=seeds) if t else nn.Identity()
                for t, width in zip(turns, widths, strict=True)
            )
            self.adapters = nn.ModuleList(Linear(replicas, width, hidden, seeds=seeds) for width in widths)
            self.norms = nn.ModuleList(Norm(replicas, hidden) for _ in shape.dims)
            plain = shape.plain and shape.operator == "concat"
            make = PlainConcat if plain else partial(Operators.make, shape.operator)
            self.operator = make(replicas, k, hidden, seeds)
        self.heads = nn.ModuleDict(
            {_key(h): Linear(replicas, hidden, o, seeds=seeds) for h, o in shape.outputs.items()}
        )
        self.solo = nn.ModuleDict(
            {
                _key(h): nn.ModuleList(Linear(replicas, hidden, o, seeds=seeds) for _ in self.adapters)
                for h, o in shape.outputs.items()
            }
        )

    def forward(self, z: Sequence[Tensor], present: Tensor, *, noise: Noise | None = None) -> Outputs:
        """
        Args:
            z: K tensors (B, D_k) shared by the replicas, or (R, B, D_k).
            present: (B, K) or (R, B, K) bool.
            noise: dropout; None at inference.
        """
        h = self.embed(z, present, noise=noise)  # (R, B, K, H), K = 1 for early fusion
        fused = h[:, :, 0] if self.shape.kind == "early" else self.operator(h, present)
        if noise is not None:
            fused = noise.dropout(fused, self.shape.dropout)
        return Outputs(
            {name: self.heads[_key(name)](fused) for name in self.shape.outputs},
            h,
        )

    def solo_of(self, outputs: Outputs) -> dict[str, list[Tensor]]:
        """By head what each adapter says alone, (R, B, O): what the balancing losses train."""
        return {
            name: [solo(outputs.hidden[:, :, i]) for i, solo in enumerate(self._solo(name))]
            for name in self.shape.outputs
        }

    def embed(self, z: Sequence[Tensor], present: Tensor, *, noise: Noise | None = None) -> Tensor:
        """h_k = LN(GELU(W_k z_k)), a missing one replaced by its token: (R, B, K, H)."""
        here = present.unsqueeze(-1)  # (B, K, 1) or (R, B, K, 1)
        if self.shape.kind == "early":
            filled = [
                torch.where(here[..., i, :], part, token)
                for i, (part, token) in enumerate(zip(z, self.tokens, strict=True))
            ]
            x = torch.cat([part.expand(self.replicas, -1, -1) for part in filled], -1)
            return self._adapt(0, x, noise).unsqueeze(2)
        parts = [
            torch.where(here[..., i, :], self._adapt(i, torch.where(here[..., i, :], part, 0.0), noise), token)
            for i, (part, token) in enumerate(zip(z, self.tokens, strict=True))
        ]
        return torch.stack(parts, 2)

    def _adapt(self, i: int, x: Tensor, noise: Noise | None) -> Tensor:
        if noise is not None:
            x = noise.dropout(x, self.shape.dropout / 2)
        if self.shape.kind == "intermediate":
            x = self.pools[i](x)
        if self.shape.plain:
            h = functional.relu(self.adapters[i](x))
        else:
            h = self.norms[i](functional.gelu(self.adapters[i](x)))
        return h if noise is None else noise.dropout(h, self.shape.dropout)

    def _solo(self, head: str) -> nn.ModuleList:
        found = self.solo[_key(head)]
        assert isinstance(found, nn.ModuleList)
        return found


@dataclass(frozen=True, slots=True)
class Outputs:
    heads: Mapping[str, Tensor]  # (R, B, O)
    hidden: Tensor  # (R, B, K, H)


def _key(head: str) -> str:
    """Torch wants module names without dots; hexadecimal keeps every head's name apart from every other."""
    return "h" + head.encode().hex()
