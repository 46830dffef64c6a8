"""Build a TensorFlow SavedModel from what `duomo export --tensorflow` wrote, and compare it with torch.

    python -m duomo.learn.tensorflow_export models/tickets/tensorflow

Needs numpy, safetensors and tensorflow, nothing else of ours: it also runs where TensorFlow lives apart from torch.
Reads `graph.json` (ONNX operators as JSON), `weights.safetensors` and `probe.safetensors` (rows and what torch says of
them); writes `saved_model/` and `parity.json`.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf  # type: ignore[import-not-found, import-untyped, unused-ignore]
from safetensors.numpy import load_file

MOST = 1e-3  # largest difference from torch that is accepted, relative to values above 1
TYPES = {1: tf.float32, 6: tf.int32, 7: tf.int64, 9: tf.bool, 11: tf.float64}  # ONNX's numbers
Values = dict[str, Any]
Options = Mapping[str, Any]


def convert(folder: Path) -> float:
    """
    Returns:
        The largest difference between the SavedModel, read back, and torch.
    Raises:
        SystemExit: the graph uses an operator that is not in `OPERATORS`, or the difference is above MOST.
    """
    graph = json.loads((folder / "graph.json").read_text(encoding="utf-8"))
    unknown = {node["op"] for node in graph["nodes"]} - set(OPERATORS)
    if unknown:
        raise SystemExit(f"no TensorFlow equivalent for {', '.join(sorted(unknown))}. Serve the ONNX graph instead.")
    network = Network(graph, load_file(folder / "weights.safetensors"))
    target = folder / "saved_model"
    tf.saved_model.save(network, str(target), signatures={"serving_default": network.run})
    difference = compare(target, graph, load_file(folder / "probe.safetensors"))
    (folder / "parity.json").write_text(
        json.dumps({"difference": difference, "tensorflow": tf.__version__}) + "\n", encoding="utf-8"
    )
    if not difference <= MOST:
        shutil.rmtree(target)
        raise SystemExit(f"{target} would differ from torch by {difference:.2g}, at most {MOST} is accepted.")
    return difference


def compare(saved: Path, graph: Mapping[str, Any], probe: Mapping[str, np.ndarray[Any, Any]]) -> float:
    run = tf.saved_model.load(str(saved)).signatures["serving_default"]
    found = run(**{one["signature"]: tf.constant(probe[one["name"]]) for one in graph["inputs"]})
    worst = 0.0
    for one in graph["outputs"]:
        wanted, given = probe[one["name"]], found[one["signature"]].numpy()
        silent = np.isnan(wanted) & np.isnan(given)
        gap = np.where(silent, 0.0, np.abs(wanted - given) / np.maximum(1, np.abs(wanted)))
        worst = max(worst, float(np.where(np.isnan(gap), np.inf, gap).max(initial=0)))
    return worst


class Network(tf.Module):  # type: ignore[misc, unused-ignore]
    """The graph's operators in order, over its weights."""

    def __init__(self, graph: Mapping[str, Any], weights: Mapping[str, np.ndarray[Any, Any]]) -> None:
        super().__init__()
        self.graph = graph
        # Numbers that shape other values must be known while tracing; large weights must stay out of the graph's file.
        self.fixed = {name: value for name, value in weights.items() if value.dtype.kind != "f" or value.size < 2}
        self.weights = {name: tf.Variable(v, trainable=False) for name, v in weights.items() if name not in self.fixed}
        signature = [
            tf.TensorSpec(
                [None if isinstance(n, str) else n for n in one["shape"]], TYPES[one["type"]], one["signature"]
            )
            for one in graph["inputs"]
        ]
        self.run = tf.function(self._run, input_signature=signature, autograph=False)

    def _run(self, *inputs: Any) -> Values:
        values: Values = {**self.fixed, **self.weights}
        values.update(zip((one["name"] for one in self.graph["inputs"]), inputs, strict=True))
        for node in self.graph["nodes"]:
            given = [values[name] if name else None for name in node["inputs"]]
            (output,) = node["outputs"]
            values[output] = OPERATORS[node["op"]](given, node["options"])
        return {one["signature"]: tf.identity(values[one["name"]]) for one in self.graph["outputs"]}


def _shape_of(value: Any) -> list[int]:
    return [int(number) for number in np.asarray(value).reshape(-1)]


def _reduce(function: Callable[..., Any]) -> Callable[[Sequence[Any], Options], Any]:
    def run(given: Sequence[Any], options: Options) -> Any:
        axes = given[1] if len(given) > 1 else options.get("axes")
        axis = None if axes is None else _shape_of(axes)
        return function(given[0], axis=axis, keepdims=bool(options.get("keepdims", 1)))

    return run


def _slice(given: Sequence[Any], options: Options) -> Any:
    value, starts, ends = given[0], _shape_of(given[1]), _shape_of(given[2])
    axes = _shape_of(given[3]) if len(given) > 3 and given[3] is not None else range(len(starts))
    steps = _shape_of(given[4]) if len(given) > 4 and given[4] is not None else [1] * len(starts)
    cuts = [slice(None)] * len(value.shape)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        cuts[axis] = slice(start, None if end >= 2**31 else end, step)
    return value[tuple(cuts)]


def _reshape(given: Sequence[Any], options: Options) -> Any:
    value, shape = given
    if isinstance(shape, np.ndarray) and not options.get("allowzero"):
        whole = tf.shape(value)
        shape = tf.stack([whole[axis] if size == 0 else size for axis, size in enumerate(_shape_of(shape))])
    return tf.reshape(value, shape)


def _unsqueeze(given: Sequence[Any], options: Options) -> Any:
    value = tf.convert_to_tensor(given[0])
    rank = len(value.shape) + len(axes := _shape_of(given[1]))
    for axis in sorted(axis % rank for axis in axes):
        value = tf.expand_dims(value, axis)
    return value


def _normalise(given: Sequence[Any], options: Options) -> Any:
    value = given[0]
    axes = list(range(options.get("axis", -1) % len(value.shape), len(value.shape)))
    mean = tf.reduce_mean(value, axes, keepdims=True)
    variance = tf.reduce_mean(tf.square(value - mean), axes, keepdims=True)
    result = (value - mean) * tf.math.rsqrt(variance + options.get("epsilon", 1e-5)) * given[1]
    return result if len(given) < 3 or given[2] is None else result + given[2]


def _pad(given: Sequence[Any], options: Options) -> Any:
    value, pads = given[0], _shape_of(given[1])
    fill = given[2] if len(given) > 2 and given[2] is not None else 0
    half = len(pads) // 2
    axes = _shape_of(given[3]) if len(given) > 3 and given[3] is not None else list(range(half))
    amounts = [[0, 0] for _ in value.shape]
    for position, axis in enumerate(axes):
        amounts[axis] = [pads[position], pads[half + position]]
    return tf.pad(value, amounts, constant_values=tf.reshape(tf.cast(fill, value.dtype), []))


def _gemm(given: Sequence[Any], options: Options) -> Any:
    product = tf.matmul(given[0], given[1], bool(options.get("transA")), bool(options.get("transB")))
    product = product * options.get("alpha", 1.0)
    return product if len(given) < 3 else product + options.get("beta", 1.0) * given[2]


def _clip(given: Sequence[Any], options: Options) -> Any:
    value = given[0]
    if len(given) > 1 and given[1] is not None:
        value = tf.maximum(value, given[1])
    return tf.minimum(value, given[2]) if len(given) > 2 and given[2] is not None else value


def _plain(function: Callable[..., Any]) -> Callable[[Sequence[Any], Options], Any]:
    return lambda given, options: function(*given)


def _fold(function: Callable[..., Any]) -> Callable[[Sequence[Any], Options], Any]:
    def run(given: Sequence[Any], options: Options) -> Any:
        result = given[0]
        for other in given[1:]:
            result = function(result, other)
        return result

    return run


def _expand(given: Sequence[Any], options: Options) -> Any:
    shape = tf.broadcast_dynamic_shape(tf.shape(given[0]), tf.cast(given[1], tf.int32))
    return tf.broadcast_to(given[0], shape)


def _shape(given: Sequence[Any], options: Options) -> Any:
    return tf.shape(given[0], out_type=tf.int64)[options.get("start", 0) : options.get("end")]


def _squeeze(given: Sequence[Any], options: Options) -> Any:
    return tf.squeeze(given[0], axis=_shape_of(given[1]) if len(given) > 1 else None)


def _softmax(given: Sequence[Any], options: Options) -> Any:
    return tf.nn.softmax(given[0], axis=options.get("axis", -1))


def _log_softmax(given: Sequence[Any], options: Options) -> Any:
    return tf.nn.log_softmax(given[0], axis=options.get("axis", -1))


def _gelu(given: Sequence[Any], options: Options) -> Any:
    return tf.nn.gelu(given[0], approximate=options.get("approximate", "none") == "tanh")


Operator = Callable[[Sequence[Any], Options], Any]

OPERATORS: dict[str, Operator] = {
    **{
        name: _plain(function)
        for name, function in {
            "Add": tf.add, "Sub": tf.subtract, "Mul": tf.multiply, "Div": tf.divide, "Pow": tf.pow, "Neg": tf.negative,
            "MatMul": tf.matmul, "Where": tf.where, "Not": tf.logical_not, "And": tf.logical_and, "Or": tf.logical_or,
            "Equal": tf.equal, "Greater": tf.greater, "Less": tf.less, "Sqrt": tf.sqrt, "Exp": tf.exp,
            "Log": tf.math.log, "Tanh": tf.tanh, "Sigmoid": tf.sigmoid, "Relu": tf.nn.relu, "Erf": tf.math.erf,
            "Identity": tf.identity, "Abs": tf.abs, "Reciprocal": tf.math.reciprocal, "GatherND": tf.gather_nd,
            "IsNaN": tf.math.is_nan, "Tile": tf.tile,
        }.items()
    },
    **{
        name: _reduce(function)
        for name, function in {
            "ReduceSum": tf.reduce_sum, "ReduceMean": tf.reduce_mean, "ReduceMax": tf.reduce_max,
            "ReduceMin": tf.reduce_min, "ReduceProd": tf.reduce_prod, "ReduceLogSumExp": tf.reduce_logsumexp,
        }.items()
    },
    "Max": _fold(tf.maximum), "Min": _fold(tf.minimum), "Sum": _fold(tf.add),
    "Cast": lambda given, options: tf.cast(given[0], TYPES[options["to"]]),
    "Concat": lambda given, options: tf.concat(given, axis=options["axis"]),
    "Gather": lambda given, options: tf.gather(given[0], given[1], axis=options.get("axis", 0)),
    "Transpose": lambda given, options: tf.transpose(given[0], options.get("perm")),
    "Gemm": _gemm, "Softmax": _softmax, "LogSoftmax": _log_softmax, "Gelu": _gelu, "LayerNormalization": _normalise,
    "Slice": _slice, "Reshape": _reshape, "Unsqueeze": _unsqueeze, "Squeeze": _squeeze, "Expand": _expand,
    "Shape": _shape, "Pad": _pad, "Clip": _clip,
}  # fmt: skip


def main(arguments: Sequence[str]) -> None:
    if len(arguments) != 1:
        raise SystemExit("usage: python -m duomo.learn.tensorflow_export FOLDER")
    difference = convert(Path(arguments[0]))
    print(f"{Path(arguments[0]) / 'saved_model'}: largest difference from torch {difference:.2g}")


if __name__ == "__main__":
    main(sys.argv[1:])
