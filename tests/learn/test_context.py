"""Earlier turns of a conversation as a modality of their own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from duomo.learn.fusion import Turns
from duomo.models import encoders as encoding
from duomo.models.encoders import BETWEEN_TURNS, TURN_DIM, Encoders, Models, context_of, context_view
from duomo.types import Sample


class Ear:
    """Stands for E5: a text's vector is its length, in every dimension."""

    def e5(self) -> Ear:
        return self

    def encode(self, texts: Sequence[str], *, kind: str) -> np.ndarray:
        return np.stack([np.full(TURN_DIM, float(len(text)), np.float32) for text in texts])


def test_only_the_last_turns_are_read_and_a_first_message_has_none() -> None:
    turns = ("Hello", " My lamp  flickers ", "", "Which model?")
    assert context_of(Sample("1", text="X2", history=turns), 2) == BETWEEN_TURNS.join(
        ["My lamp flickers", "Which model?"]
    )
    assert context_of(Sample("1", text="Hello"), 2) is None


def test_turns_stand_at_the_end_with_zeros_where_the_conversation_had_not_begun() -> None:
    encode = encoding._turns(Ear(), 3)  # type: ignore[arg-type]  # a Models with E5 alone
    rows = np.asarray(encode(BETWEEN_TURNS.join(["four", "sixsix"]))).reshape(3, TURN_DIM)
    assert rows[:, 0].tolist() == [0.0, 4.0, 6.0]


def test_a_model_with_context_refuses_no_sample_without_it() -> None:
    encoders = Encoders([context_view(2)], models=Models())
    assert encoders.modalities == ("context",)
    assert encoders.value(Sample("1", text="Hello"), "context") is None
    assert Encoders.for_views([context_view(4)]).views == (context_view(4),)


def test_attention_over_turns_is_a_mean_of_those_that_exist() -> None:
    pool = Turns(2, 3, 4, seeds=torch.Generator().manual_seed(0))
    rows = torch.zeros(5, 3, 4)
    rows[:, 2] = torch.arange(20.0).reshape(5, 4) + 1  # the last turn alone
    torch.testing.assert_close(pool(rows.flatten(1)), rows[:, 2].expand(2, 5, 4))
    rows[:, 1] = rows[:, 2] + 2
    pooled = pool(rows.flatten(1))
    share = (pooled - rows[:, 2]) / 2  # of the turn before: the same in every dimension, and neither 0 nor 1
    torch.testing.assert_close(share, share[..., :1].expand(2, 5, 4))
    assert bool(((share > 0) & (share < 1)).all())
