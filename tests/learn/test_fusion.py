from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from duomo.errors import ConfigError
from duomo.learn.fusion import BOTTLENECK, RANK, TENSOR_DIM, FusionNetwork, Linear, Noise, Operators, Shape
from duomo.learn.model import Model
from duomo.learn.train import view_replica
from tests.learn.synthetic import fitted, rows, task

OPERATORS = ("concat", "sum", "gated", "low_rank", "tensor", "cross_attention", "bottleneck")
R, B, K, H = 2, 5, 3, 8


def operator(name, *, k: int = K):
    made = Operators.make(name, R, k, H, torch.Generator().manual_seed(1))
    drawn = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=drawn))  # replicas differ, biases are not 0
    return made


def hidden(*, k: int = K, seed: int = 0) -> torch.Tensor:
    return torch.randn(R, B, k, H, generator=torch.Generator().manual_seed(seed))


ALL = torch.ones(B, K, dtype=torch.bool)
SOME = torch.tensor([[1, 1, 1], [1, 0, 1], [0, 1, 1], [0, 0, 1], [1, 1, 0]], dtype=torch.bool)


def affine(layer: Linear, x: torch.Tensor, replica: int) -> torch.Tensor:
    return x @ layer.weight[replica] + layer.bias[replica, 0]


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("k", [1, 2, 3])
def test_every_operator_gives_one_vector_a_row(name, k):
    assert operator(name, k=k)(hidden(k=k), torch.ones(B, k, dtype=torch.bool)).shape == (R, B, H)


@pytest.mark.parametrize("name", OPERATORS)
def test_no_operator_mixes_rows_or_replicas(name):
    made, h = operator(name), hidden()
    whole = made(h, SOME)

    other = h.clone()
    other[1, 2] += 5

    changed = (made(other, SOME) - whole).abs().sum(-1) > 1e-6
    assert changed.nonzero().tolist() == [[1, 2]]


@pytest.mark.parametrize("name", ["gated", "cross_attention", "bottleneck"])
def test_attending_operators_do_not_read_the_missing(name):
    made, h = operator(name), hidden()
    if name == "gated":  # its gates read the token of what is missing, which is the same for every row
        for parameter in made.gate.parameters():
            parameter.data.zero_()
    other = torch.where(SOME[None, :, :, None], h, torch.full_like(h, 7.0))

    torch.testing.assert_close(made(h, SOME), made(other, SOME), rtol=0, atol=0)


def test_concat_and_sum_as_written_down():
    made, h = operator("concat"), hidden()
    for r in range(R):
        expected = functional.gelu(affine(made.mix, torch.cat([h[r, :, 0], h[r, :, 1], h[r, :, 2]], -1), r))
        torch.testing.assert_close(made(h, ALL)[r], expected)
    torch.testing.assert_close(operator("sum")(h, ALL), (h[:, :, 0] + h[:, :, 1] + h[:, :, 2]) / 3)


def test_gated_as_arevalo_2017_with_a_softmax_over_what_is_there():
    made, h = operator("gated"), hidden()
    result = made(h, SOME)
    for r in range(R):
        for b in range(B):
            joined = torch.cat([h[r, b, k] for k in range(K)])
            gates = affine(made.gate, joined, r).reshape(K, H)
            here = [k for k in range(K) if SOME[b, k]]
            shares = torch.softmax(gates[here], 0)
            expected = sum(
                share * torch.tanh(affine(made.values[k], h[r, b, k], r)) for share, k in zip(shares, here, strict=True)
            )
            torch.testing.assert_close(result[r, b], expected)


def test_low_rank_as_liu_2018():
    made, h = operator("low_rank"), hidden()
    for r in range(R):
        product = torch.ones(B, RANK * H)
        for k in range(K):
            product = product * affine(made.factors[k], h[r, :, k], r)
        total = sum(product[:, i * H : (i + 1) * H] for i in range(RANK))
        normal = functional.layer_norm(total, (H,)) * made.norm.gain[r, 0] + made.norm.offset[r, 0]
        torch.testing.assert_close(made(h, ALL)[r], normal, rtol=1e-4, atol=1e-5)


def test_tensor_as_zadeh_2017():
    made, h = operator("tensor"), hidden()
    one = torch.ones(B, 1)
    for r in range(R):
        units = [torch.cat([torch.tanh(affine(made.small[k], h[r, :, k], r)), one], 1) for k in range(K)]
        outer = torch.einsum("bi,bj,bk->bijk", *units).reshape(B, (TENSOR_DIM + 1) ** 3)
        torch.testing.assert_close(made(h, ALL)[r], functional.gelu(affine(made.mix, outer, r)), rtol=1e-4, atol=1e-5)


def test_cross_attention_against_torchs_own():
    made, h = operator("cross_attention"), hidden()
    allowed = SOME.repeat_interleave(made.cut[0].weight.shape[-1] // H, 1)  # tokens of each modality
    for r in range(R):
        tokens = torch.cat([affine(made.cut[k], h[r, :, k], r).view(B, -1, H) for k in range(K)], 1)
        asked, key, value = (affine(part, tokens, r) for part in (made.query, made.key, made.value))
        told = tokens + functional.scaled_dot_product_attention(asked, key, value, attn_mask=allowed[:, None, :])
        mean = torch.stack([told[b, allowed[b]].mean(0) for b in range(B)])
        expected = functional.layer_norm(mean, (H,)) * made.norm.gain[r, 0] + made.norm.offset[r, 0]
        torch.testing.assert_close(made(h, SOME)[r], expected, rtol=1e-4, atol=1e-5)


def test_bottleneck_tokens_hear_the_mean_of_the_present_modalities():
    made, h = operator("bottleneck"), hidden()
    result = made(h, SOME)
    for r in range(R):
        shared = made.shared[r, 0]  # (BOTTLENECK, H)
        for b in range(B):
            told = []
            for k in range(K):
                if SOME[b, k]:
                    seen = torch.cat([affine(made.cut[k], h[r, b, k], r).view(-1, H), shared])
                    asked, key, value = (
                        affine(made.query, shared, r),
                        affine(made.key, seen, r),
                        affine(made.value, seen, r),
                    )
                    told.append(torch.softmax(asked @ key.T / H**0.5, -1) @ value)
            mean = (shared + torch.stack(told).mean(0)).mean(0)
            expected = functional.layer_norm(mean, (H,)) * made.norm.gain[r, 0] + made.norm.offset[r, 0]
            torch.testing.assert_close(result[r, b], expected, rtol=1e-4, atol=1e-5)
    assert shared.shape == (BOTTLENECK, H)


def test_the_outer_product_refuses_four_modalities():
    with pytest.raises(ConfigError, match=r"at most 3 modalities, here are 4.*Use low_rank"):
        Operators.make("tensor", 1, 4, H, torch.Generator())
    with pytest.raises(ConfigError, match="at most 3 modalities, here are 4"):
        fitted(rows(40, modalities=4), task(fusion="intermediate", operator="tensor"))


def test_auto_takes_the_low_rank_tensor_instead_for_four_modalities():
    given = rows(60, modalities=4)
    dense = {name: view for name, view in given.features.dense.items() if name != "text.net"}
    given = replace(given, features=replace(given.features, dense=dense), views=given.views[1:])

    model = fitted(given, task(operator="tensor", epochs=1, folds=2))  # text has n-grams only, and still counts

    assert "intermediate" in model.result.history


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_learns_and_is_saved_and_loaded_with_equal_scores(name, tmp_path):
    given, fresh = rows(150, signal=(3, 3, 3), missing=0.1), rows(60, signal=(3, 3, 3), missing=0.1, seed=4)
    model = fitted(given, task(fusion="intermediate", operator=name, epochs=12, folds=2, hidden=16))

    loaded = Model.load(model.save(tmp_path / "model"))

    one, other = model.scores(fresh.features)["intent"], loaded.scores(fresh.features)["intent"]
    np.testing.assert_array_equal(one.fused, other.fused)
    np.testing.assert_array_equal(one.unimodal, other.unimodal)
    assert set(model.core.plan.fusions["intent"].patterns[7]) == {"intermediate"}
    assert (one.fused.argmax(1) == np.arange(60) % 3).mean() > 0.8


# --- the network


SHAPE = Shape("intermediate", "gated", (4, 3, 2), {"intent": 3, "价格 (元)": 1}, H, 0.4)


def inputs(n: int = B, *, seed: int = 3) -> list[torch.Tensor]:
    drawn = torch.Generator().manual_seed(seed)
    return [torch.randn(n, width, generator=drawn) for width in SHAPE.dims]


def test_an_adapter_is_layer_norm_of_gelu_of_a_linear_map_and_a_token_stands_for_what_is_missing():
    network = FusionNetwork(SHAPE, replicas=1, seed=0)
    network.tokens[1].data.fill_(0.7)
    z = inputs()

    h = network.embed(z, SOME)[0]

    expected = functional.layer_norm(functional.gelu(z[0] @ network.adapters[0].weight[0]), (H,))
    torch.testing.assert_close(h[SOME[:, 0], 0], expected[SOME[:, 0]], rtol=1e-4, atol=1e-5)
    assert (h[~SOME[:, 1], 1] == 0.7).all()


def test_replicas_start_alike_and_one_can_be_taken_out():
    network = FusionNetwork(SHAPE, replicas=3, seed=0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter[2] += 0.1

    z = inputs()
    whole = network(z, SOME).heads["intent"]

    torch.testing.assert_close(whole[0], whole[1], rtol=0, atol=0)
    torch.testing.assert_close(view_replica(network, 2)(z, SOME).heads["intent"][0], whole[2], rtol=1e-5, atol=1e-6)
    assert (whole[2] - whole[0]).abs().max() > 0.01


def test_dropout_is_the_same_for_a_batch_whole_or_shared_out():
    network = FusionNetwork(SHAPE, replicas=2, seed=0)
    z = inputs(6)
    here = torch.ones(6, 3, dtype=torch.bool)

    whole = network(z, here, noise=Noise(5, rows=6, mine=slice(0, 6))).heads["intent"]
    second = network([part[2:] for part in z], here[2:], noise=Noise(5, rows=6, mine=slice(2, 6))).heads["intent"]

    torch.testing.assert_close(whole[:, 2:], second)
    assert (whole - network(z, here).heads["intent"]).abs().max() > 0.01


def test_dropout_zeroes_the_wanted_share_and_keeps_the_mean():
    noise = Noise(0, rows=2000, mine=slice(0, 2000))

    dropped = noise.dropout(torch.ones(1, 2000, 50), 0.3)

    assert dropped.unique().tolist() == pytest.approx([0.0, 1 / 0.7])
    assert float((dropped == 0).float().mean()) == pytest.approx(0.3, abs=0.01)
