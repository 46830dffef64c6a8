import numpy as np
import pytest

from duomo.errors import InputError
from duomo.learn.targets import hits, known, prepare, prior_of, score
from duomo.learn.task import Head
from tests.learn.synthetic import task

TASK = task()
INTENT, TAGS, PRICE = Head("intent"), Head("tags", "multilabel"), Head("price", "number")


def test_classes_are_numbered_in_the_order_of_their_names_or_of_the_task():
    values = ["b", None, "a", "b"]

    assert prepare(INTENT, values, TASK).labels == ("a", "b")
    assert prepare(INTENT, values, TASK).targets.tolist() == [1, -1, 0, 1]
    listed = prepare(Head("intent", labels=("b", "z", "a")), values, TASK)
    assert listed.labels == ("b", "z", "a")
    assert listed.targets.tolist() == [0, -1, 2, 0]
    assert listed.objective.outputs == 3


def test_out_of_scope_is_the_last_output_with_examples_and_none_without():
    head = Head("intent", out_of_scope="oos")

    some = prepare(head, ["b", "oos", "a"], TASK)
    assert (some.labels, some.targets.tolist(), some.extra, some.objective.outputs) == (("a", "b"), [1, 2, 0], True, 3)
    none = prepare(head, ["b", None, "a"], TASK)
    assert (none.labels, none.targets.tolist(), none.extra, none.objective.outputs) == (
        ("a", "b"),
        [1, -1, 0],
        False,
        2,
    )


def test_several_labels_are_a_row_of_zeros_and_ones():
    found = prepare(TAGS, [("x", "y"), (), None, "y"], TASK)

    np.testing.assert_array_equal(found.targets, np.array([[1, 1], [0, 0], [np.nan] * 2, [0, 1]], np.float32))


def test_numbers_are_counted_in_standard_deviations():
    found = prepare(PRICE, [10.0, None, 30.0], TASK)

    assert (found.mean, found.deviation) == (20.0, 10.0)
    np.testing.assert_array_equal(found.targets, np.array([-1, np.nan, 1], np.float32))


@pytest.mark.parametrize(
    ("head", "values", "message"),
    [
        (INTENT, [None, None], "head intent: no sample has a label"),
        (INTENT, ["a", "a"], "all labelled samples say 'a'; two labels at least"),
        (Head("intent", out_of_scope="oos"), ["a", "oos"], "two labels at least"),
        (Head("intent", out_of_scope="oos"), ["oos", "oos"], "all labelled samples say 'oos'"),
        (Head("intent", labels=("refund", "other")), ["refund", "refundd"], "Did you mean refund"),
        (INTENT, [("a", "b"), "c"], "labels.intent is a list; intent is a class head"),
        (TAGS, [None], "head tags: no sample has a label"),
        (PRICE, [1.0, None], "head price: 1 samples have a number; two at least"),
        (PRICE, ["many", 2.0], "price is a number head and takes a number"),
        (PRICE, [float("inf"), 2.0], "price is a number head and takes a number"),
        (PRICE, [("x",), 2.0], "price is a number head and takes a number"),
    ],
)
def test_labels_that_teach_nothing_are_refused(head, values, message):
    with pytest.raises(InputError, match=message):
        prepare(head, values, TASK)


def test_balanced_weights_make_every_label_count_the_same():
    found = prepare(Head("intent", class_weights="balanced"), ["a"] * 6 + ["b"] * 2 + [None], TASK)
    weights = np.array(found.objective.class_weights)

    np.testing.assert_allclose(weights * [6, 2], [4, 4])
    tags = prepare(Head("tags", "multilabel", class_weights="balanced"), [("x",)] + [()] * 4 + [None], TASK)
    assert tags.objective.class_weights == (4.0,)  # rows without the label for each with it


def test_the_prior_counts_one_row_more_of_each_label():
    intent = prepare(INTENT, ["a", "a", "b", None], TASK)
    tags = prepare(TAGS, [("x",), ("x", "y"), (), None], TASK)
    price = prepare(PRICE, [1.0, 5.0], TASK)

    np.testing.assert_allclose(np.exp(prior_of(intent.objective, intent.targets)), [3 / 5, 2 / 5])
    np.testing.assert_allclose(1 / (1 + np.exp(-prior_of(tags.objective, tags.targets))), [2.5 / 4, 1.5 / 4])
    assert prior_of(price.objective, price.targets).tolist() == [0.0]


def test_hits_and_scores_leave_out_what_is_unknown():
    intent = prepare(INTENT, ["a", "b", None, "b"], TASK)
    eta = np.array([[0.0, -1], [0, -1], [0, -1], [np.nan, np.nan]])
    np.testing.assert_array_equal(hits(intent.objective, eta, intent.targets), [1, 0, np.nan, np.nan])
    assert score(intent.objective, eta, intent.targets) == 0.5
    assert known(intent.objective, intent.targets).tolist() == [True, True, False, True]

    tags = prepare(TAGS, [("x",), None, ("y",)], TASK)
    said = np.array([[1.0, 1.0], [1, 1], [-1, 1]])
    np.testing.assert_array_equal(hits(tags.objective, said, tags.targets), [0.5, np.nan, 1])

    price = prepare(PRICE, [10.0, None, 30.0], TASK)
    assert score(price.objective, np.zeros((3, 1)), price.targets) == 0  # R² of the mean
    assert score(price.objective, np.array([[-1.0], [0], [1]]), price.targets) == 1
    assert np.isnan(score(price.objective, np.full((3, 1), np.nan), price.targets))
