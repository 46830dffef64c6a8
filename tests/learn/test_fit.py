"""What is learned from small, odd, broken and half-labelled sets."""

from dataclasses import replace

import numpy as np
import pytest

from duomo.errors import ConfigError, InputError
from duomo.learn.inputs import projection
from duomo.learn.task import Head
from duomo.models.features import Features, View
from tests.learn.synthetic import Rows, accuracy, assert_same_weights, fitted, junk, rows, task

NUMBER, TAGS = Head("price", "number"), Head("tags", "multilabel")


def vectors(x: np.ndarray, labels, *, head: str = "intent", groups=None, present=None) -> Rows:
    """One modality, one view."""
    here = np.ones(len(x), dtype=bool) if present is None else present
    return Rows(
        Features(("image",), here[:, None], {"image.net": x.astype(np.float32)}),
        (View("image.net", "image", x.shape[1], "net", "1"),),
        {head: list(labels)},
        tuple(f"g{row}" for row in range(len(x))) if groups is None else tuple(groups),
    )


def noise(n: int, dim: int = 4, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, dim))


# --- heads


def test_several_heads_with_labels_missing_here_and_there():
    given = rows(180)
    truth, random = given.truth(), np.random.default_rng(0)
    known = random.random((3, 180)) < 0.6
    given = given.label(
        intent=[label if here else None for label, here in zip(truth, known[0], strict=True)],
        tags=[
            ("x",) * (label != "a") + ("y",) * (label == "c") if here else None
            for label, here in zip(truth, known[1], strict=True)
        ],
        price=[float("abc".index(label)) * 10 if here else None for label, here in zip(truth, known[2], strict=True)],
    )

    model = fitted(given, task(Head("intent"), TAGS, NUMBER))

    fresh = rows(90, seed=8)
    said = model.predict_features(fresh.features)
    truth = fresh.truth()
    assert (np.array(["a", "b", "c"])[said["intent"].predicted] == truth).mean() > 0.85
    wanted = np.stack([truth != "a", truth == "c"], axis=1)
    assert model.heads["tags"].labels == ("x", "y")
    assert (said["tags"].predicted == wanted).mean() > 0.85
    error = said["price"].predicted - np.array(["abc".index(label) * 10.0 for label in truth])
    assert np.sqrt((error**2).mean()) < 5
    for name, found in model.result.heads.items():
        rows_with = {"intent": known[0], "tags": known[1], "price": known[2]}[name]
        assert set(found.natural.rows) == set(np.flatnonzero(rows_with))


@pytest.mark.parametrize("loss", ["mse", "huber"])
def test_a_number_head_learns_in_its_own_unit(loss):
    x = noise(120)
    price = 500 + 40 * (x @ [1, -1, 0.5, 0])
    model = fitted(vectors(x, price.tolist(), head="price"), task(Head("price", "number", loss=loss)))

    fresh = noise(50, seed=1)
    said = model.predict_features(vectors(fresh, [0] * 50, head="price").features)["price"]

    assert np.corrcoef(said.predicted, 500 + 40 * (fresh @ [1, -1, 0.5, 0]))[0, 1] > 0.95
    assert model.heads["price"].prior == pytest.approx((price.mean(), price.std()))
    inside = (said.interval[:, 0] <= 500 + 40 * (fresh @ [1, -1, 0.5, 0])) & (
        500 + 40 * (fresh @ [1, -1, 0.5, 0]) <= said.interval[:, 1]
    )
    assert inside.mean() > 0.75


def test_a_number_that_never_changes_is_answered_as_it_is():
    model = fitted(vectors(noise(30), [7.5] * 30, head="price"), task(NUMBER))

    assert model.predict_features(vectors(noise(3), [0] * 3, head="price").features)[
        "price"
    ].predicted == pytest.approx([7.5] * 3)


def test_balanced_weights_raise_the_recall_of_a_rare_label():
    random = np.random.default_rng(0)
    rare = random.random(400) < 0.08
    x = np.where(rare[:, None], 1.1, 0) + random.normal(size=(400, 3))
    fresh = np.where((np.arange(200) % 2 == 0)[:, None], 1.1, 0) + random.normal(size=(200, 3))

    def recall(head: Head, labels, answer) -> float:
        model = fitted(vectors(x, labels), task(head, fusion="late", epochs=8))
        return float(answer(model.predict_features(vectors(fresh, [None] * 200).features)["intent"])[::2].mean())

    for kind, labels in (
        ("class", np.where(rare, "rare", "common")),
        ("multilabel", [("rare",) * int(one) for one in rare]),
    ):
        heads = [Head("intent", kind, class_weights=way) for way in ("none", "balanced")]
        plain, balanced = (
            recall(head, labels, lambda said: said.predicted == 1 if said.predicted.ndim == 1 else said.predicted[:, 0])
            for head in heads
        )
        assert balanced > plain + 0.2, kind


def test_two_labels_and_two_samples_are_enough():
    model = fitted(vectors(noise(2), ["a", "b"]))

    assert np.isfinite(model.scores(vectors(noise(4), [None] * 4).features)["intent"].fused).all()


def test_a_label_with_a_single_sample_is_learned_without_a_warning():
    given = rows(60)
    labels = [*given.labels["intent"]]
    labels[7] = "once"

    for groups in (given.groups, tuple(f"g{row // 2}" for row in range(60))):
        model = fitted(replace(given.label(intent=labels), groups=groups), task(folds=5))
        assert model.heads["intent"].labels == ("a", "b", "c", "once")
        assert np.isfinite(model.scores(given.features)["intent"].fused).all()


def test_label_smoothing_makes_the_networks_less_sure():
    given = rows(150, signal=(4, 4, 4), ngrams=False)
    plain, smooth = (
        fitted(given, task(fusion="early", label_smoothing=share, epochs=20, hidden=16)) for share in (0.0, 0.4)
    )

    sure = [np.exp(model.scores(given.features)["intent"].fused).max(1).mean() for model in (plain, smooth)]
    assert sure[1] < sure[0] - 0.1


# --- groups and folds


def test_rows_of_one_group_stay_together_and_no_fold_sees_its_own_rows():
    given = replace(rows(120), groups=tuple(f"g{row // 7}" for row in range(120)))

    found = fitted(given, task(fusion="late")).result.heads["intent"]

    by_group: dict[str, set[int]] = {}
    for group, fold in zip(given.groups, found.folds, strict=True):
        by_group.setdefault(group, set()).add(int(fold))
    assert all(len(folds) == 1 for folds in by_group.values())
    assert set(found.folds) == {0, 1, 2}


def test_memorised_groups_do_not_look_like_skill_out_of_fold():
    """Rows of a group share a vector and a label that nothing else predicts."""
    random = np.random.default_rng(0)
    group = np.arange(120) // 4
    x = random.normal(size=(30, 60))[group] + 0.01 * random.normal(size=(120, 60))
    labels = np.array(["a", "b"])[random.integers(0, 2, 30)[group]]

    honest = fitted(vectors(x, labels, groups=[f"g{g}" for g in group]), task(fusion="late"))
    fooled = fitted(vectors(x, labels), task(fusion="late"))

    assert honest._metrics["intent"]["out_of_fold"] < 0.7
    assert fooled._metrics["intent"]["out_of_fold"] > 0.9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda given: replace(given, groups=("same",) * 30), "all labelled samples are in one group"),
        (lambda given: given.label(intent=[None] * 30), "no sample has a label"),
        (lambda given: given.label(intent=["a"] * 30), "all labelled samples say 'a'; two labels at least"),
        (lambda given: given.label(intent=["a"] + [None] * 29), "two labels at least"),
        (lambda given: given.label(intent=[("a", "b")] * 30), "labels.intent is a list"),
    ],
)
def test_what_cannot_be_learned_from_is_said(change, message):
    with pytest.raises(InputError, match=message):
        fitted(change(vectors(noise(30), ["a", "b", "c"] * 10)))


def test_a_head_whose_labels_are_all_kept_apart_is_an_error_not_a_crash():
    given = rows(60).label(intent=["a", "b"] * 30, price=[None] * 50 + [1.0 * row for row in range(10)])

    with pytest.raises(InputError, match="head price: no sample to learn from has a label"):
        fitted(given, task(Head("intent"), NUMBER), untouched=np.arange(50, 60))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_feature_that_is_no_number_is_named(value):
    x = noise(30)
    x[4, 2] = x[9, 0] = value

    with pytest.raises(InputError, match=r"image.net holds NaN or infinity in 2 of 30 samples"):
        fitted(vectors(x, ["a", "b", "c"] * 10))


def test_an_n_gram_count_that_is_no_number_is_named():
    given = rows(40)
    values = given.features.sparse["text.ngrams"].values.copy()
    values[0] = np.nan
    sparse = {"text.ngrams": replace(given.features.sparse["text.ngrams"], values=values)}

    with pytest.raises(InputError, match=r"text.ngrams holds NaN or infinity in 1 of"):
        fitted(replace(given, features=replace(given.features, sparse=sparse)))


# --- odd features


def test_constant_features_say_nothing_and_break_nothing():
    model = fitted(vectors(np.full((45, 5), 3.0), ["a", "b", "b"] * 15))

    said = np.exp(model.scores(vectors(np.full((2, 5), 9.0), [None] * 2).features)["intent"].fused)
    np.testing.assert_allclose(said, [[1 / 3, 2 / 3]] * 2, atol=0.06)


@pytest.mark.parametrize("width", [5, 300])
@pytest.mark.parametrize("here", [0, 1, 2])
def test_a_modality_that_hardly_any_row_has_breaks_nothing(width, here):
    given = rows(60, modalities=2, ngrams=False, missing=0.0)
    present = given.features.present.copy()
    present[here:, 1] = False
    dense = {**given.features.dense, "image.net": noise(60, width).astype(np.float32)}
    views = (given.views[0], replace(given.views[1], dim=width))
    odd = replace(given, features=replace(given.features, present=present, dense=dense), views=views)

    model = fitted(odd)

    assert accuracy(model, odd) > 0.6
    whole = replace(odd.features, present=np.ones((60, 2), dtype=bool))
    assert np.isfinite(model.scores(whole)["intent"].fused).all()


def test_rows_without_anything_are_answered_by_the_prior():
    given = rows(60)
    present = given.features.present.copy()
    present[::6] = False
    empty = replace(given, features=replace(given.features, present=present))

    model = fitted(empty)

    prior = np.array(model.core.plan.fusions["intent"].prior)
    np.testing.assert_allclose(model.scores(empty.features)["intent"].fused[::6], np.tile(prior, (10, 1)), atol=1e-6)
    assert_same_weights(model, fitted(replace(empty, features=junk(empty.features, np.nan))))


def test_principal_components_keep_the_strongest_directions():
    random = np.random.default_rng(0)
    hidden = random.normal(size=(200, 3)) * [5, 3, 2]
    z = (hidden @ random.normal(size=(3, 400)) + 0.05 * random.normal(size=(200, 400))).astype(np.float32)

    components = projection(z, seed=0)

    reduced = z @ components
    assert reduced.shape == (200, 199)
    assert np.mean(reduced.var(0)) == pytest.approx(1, rel=0.2)
    strongest = reduced[:, np.argsort(-reduced.var(0))[:3]]
    left = hidden - strongest @ np.linalg.lstsq(strongest, hidden, rcond=None)[0]
    assert np.abs(left).max() < 0.5
    assert (projection(z[:1], seed=0) == 0).all()


# --- do no harm, leaks


@pytest.mark.parametrize("harm", ["useless", "shifted"])
def test_a_second_modality_that_does_not_help_is_left_out(harm):
    """shifted: it tells the label of three quarters of the rows and lies about the rest."""
    random = np.random.default_rng(1)
    truth = np.arange(240) % 2
    good = 1.3 * np.where(truth, 1, -1)[:, None] * [1, 0.5, 0] + random.normal(size=(240, 3))
    told = random.integers(0, 2, 240) if harm == "useless" else np.where(random.random(240) < 0.52, truth, 1 - truth)
    bad = np.where(told, 1, -1)[:, None] * [3, 0, 0] + random.normal(size=(240, 3))
    features = Features(
        ("text", "image"), np.ones((240, 2), dtype=bool),
        {"text.net": good.astype(np.float32), "image.net": bad.astype(np.float32)},
    )  # fmt: skip
    views = (View("text.net", "text", 3, "net", "1"), View("image.net", "image", 3, "net", "1"))
    labels = [["no", "yes"][one] for one in truth]
    given = Rows(features, views, {"intent": labels}, tuple(f"g{row}" for row in range(240)))
    half = given.take(np.arange(0, 160))

    model = fitted(half, task(folds=5))

    alone = model.result.heads["intent"].fusion.patterns[3]
    rest = given.take(np.arange(160, 240))
    single = np.array(["no", "yes"])[model.predict_features(rest.features.only(["text"]))["intent"].predicted]
    assert accuracy(model, rest) >= (single == rest.truth()).mean() - 0.03
    if alone == {"only/text": 1.0}:
        lines = [line for line in model.result.heads["intent"].comparison.rows if line["member"] == "chosen"]
        assert "only/text alone" in str(lines[-1]["note"])
    late = model.result.heads["intent"].fusion.late
    assert late[1] < 0.3 * late[0] or alone == {"only/text": 1.0}


def leaking(*, planted: bool) -> tuple[Rows, np.ndarray]:
    """A vector that encodes the labels of the training rows, and is noise for the rows of the validation file."""
    random = np.random.default_rng(2)
    given = rows(200, modalities=2, ngrams=False, missing=0.0, signal=(1.0, 1.0), seed=1)
    apart = np.arange(140, 200)
    truth = np.arange(200) % 3
    code = np.eye(3)[truth] * 4 + random.normal(size=(200, 3))
    code[apart] = random.normal(size=(60, 3))
    if planted:
        views = (given.views[0], replace(given.views[1], dim=3))
        dense = {**given.features.dense, "image.net": code.astype(np.float32)}
        given = replace(given, features=replace(given.features, dense=dense), views=views)
    return given, apart


def test_a_feature_that_has_seen_the_labels_raises_the_alarm():
    given, apart = leaking(planted=True)

    model = fitted(given, task(fusion="auto"), untouched=apart)

    assert {alarm.member for alarm in model.result.heads["intent"].alarms} == {"the model", "image"}
    assert any("image: " in note and "has probably seen the labels" in note for note in model.notes)


def test_clean_features_raise_no_alarm():
    given, apart = leaking(planted=False)

    assert fitted(given, task(fusion="auto"), untouched=apart).notes == []


def test_a_tenth_is_kept_apart_without_a_validation_file_and_judges_the_same_way():
    given = rows(400, ngrams=False)

    found = fitted(given, task(fusion="late")).result.heads["intent"]

    assert len(found.untouched.rows) == 40
    assert (found.folds[found.untouched.rows] == -1).all()
    assert found.alarms == []


# --- what the task prescribes


@pytest.mark.parametrize("fusion", ["early", "intermediate", "late", "unimodal"])
def test_a_prescribed_fusion_speaks_for_every_pattern(fusion):
    fusions = fitted(rows(120), task(fusion=fusion, epochs=1)).result.heads["intent"].fusion.patterns

    for bits, members in fusions.items():
        (speaks,) = members
        single = bin(bits).count("1") == 1
        if fusion in ("early", "intermediate"):
            assert speaks == fusion
        elif fusion == "unimodal" or single:
            assert speaks.startswith("only/")
        else:
            assert speaks == "late"


def test_unimodal_is_unimodal_for_a_handful_of_rows_too():
    fusions = fitted(rows(20), task(fusion="unimodal", epochs=1)).result.heads["intent"].fusion.patterns

    assert all(next(iter(members)).startswith("only/") for members in fusions.values())


def test_an_aligned_network_exists_and_speaks_only_where_it_wins():
    found = fitted(rows(120), task(fusion="intermediate", mode="self-supervised", epochs=4))

    assert {"intermediate", "intermediate-aligned"} <= set(found.result.history)
    head = found.result.heads["intent"]
    for bits, members in head.fusion.patterns.items():
        pattern = "+".join(m for k, m in enumerate(found.modalities) if bits >> k & 1)
        losses = {str(line["member"]): line["loss"] for line in head.comparison.rows if line["pattern"] == pattern}
        networks = {name: losses[name] for name in ("intermediate", "intermediate-aligned")}
        assert members == {min(networks, key=networks.get): 1.0}


def test_unknown_operators_for_the_number_of_modalities_are_refused_before_any_work():
    told: list[object] = []

    with pytest.raises(ConfigError):
        fitted(rows(40, modalities=4), task(fusion="intermediate", operator="tensor"), progress=told.append)
    assert told == []


# --- out of scope


def with_strangers(*, examples: bool) -> Rows:
    """The last third fits none of the labels; with examples it says so, otherwise it has no label at all."""
    random = np.random.default_rng(3)
    kind = np.arange(240) % 3
    x = np.eye(3)[kind] * 8 + random.normal(size=(240, 3))
    labels = [("a", "b", "oos" if examples else None)[one] for one in kind]
    return vectors(x, labels)


@pytest.mark.parametrize("examples", [True, False])
def test_predict_answers_out_of_scope(examples):
    given = with_strangers(examples=examples)
    if not examples:
        given = given.take([row for row in range(240) if row % 3 != 2])

    model = fitted(given, task(Head("intent", out_of_scope="oos"), fusion="late", epochs=6))

    fresh = with_strangers(examples=True).features.take(np.arange(60))
    if not examples:  # far from both labels: neither's direction at all
        fresh.dense["image.net"][2::3] *= -1
    answers = [prediction.heads["intent"].label for prediction in model.understanding.predict(fresh, shares=False)]
    assert model.heads["intent"].labels == ("a", "b")
    assert np.mean([answer == "oos" for answer in answers[2::3]]) > (0.9 if examples else 0.5)
    known = [answer for row, answer in enumerate(answers) if row % 3 != 2]
    assert np.mean([answer == "ab"[row % 2] for row, answer in enumerate(known)]) > 0.9


# --- learning from rows without labels


def two_views(n: int, *, seed: int) -> tuple[Features, np.ndarray]:
    """Each modality tells the label through directions of its own, one strongly and one weakly."""
    random = np.random.default_rng(seed)
    truth = np.arange(n) % 4
    means = np.random.default_rng(50).normal(size=(2, 4, 12))
    dense = {
        name: (strength * means[k, truth] + random.normal(size=(n, 12))).astype(np.float32)
        for k, (name, strength) in enumerate((("text.net", 1.1), ("image.net", 1.1)))
    }
    return Features(("text", "image"), np.ones((n, 2), dtype=bool), dense), truth


def test_rows_without_labels_raise_the_accuracy_of_twenty_labels():
    features, truth = two_views(420, seed=0)
    labels = ["wxyz"[label] if row < 20 else None for row, label in enumerate(truth)]
    views = tuple(View(f"{name}.net", name, 12, "net", "1") for name in ("text", "image"))
    given = Rows(features, views, {"intent": labels}, tuple(f"g{row}" for row in range(420)))
    fresh, answer = two_views(400, seed=1)
    reached = {}
    for mode in ("supervised", "semi-supervised"):
        model = fitted(given, task(mode=mode, epochs=2, folds=4))
        reached[mode] = float((model.predict_features(fresh)["intent"].predicted == answer).mean())

    assert reached["semi-supervised"] > reached["supervised"] + 0.03, reached


def test_two_heads_teach_themselves_from_the_same_unlabelled_rows():
    features, truth = two_views(300, seed=0)
    other = np.random.default_rng(5).permutation(4)[truth]
    views = tuple(View(f"{name}.net", name, 12, "net", "1") for name in ("text", "image"))
    wide = ["wxyz"[label] if row < 20 else None for row, label in enumerate(truth)]
    half = ["pqrs"[label] if row < 20 else None for row, label in enumerate(other)]
    groups = tuple(f"g{row}" for row in range(300))
    of = task(Head("one"), Head("two"), mode="semi-supervised", epochs=1, folds=4, fusion="late")
    both = fitted(Rows(features, views, {"one": wide, "two": half}, groups), of)
    alone = fitted(Rows(features, views, {"one": wide}, groups), replace(of, heads=(Head("one"),)))

    fresh, answer = two_views(300, seed=1)
    a, b = ((model.predict_features(fresh)["one"].predicted == answer).mean() for model in (both, alone))
    assert a >= b - 0.02
