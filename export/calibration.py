"""Calibration: per-channel activation ranges at the input of every matrix product, over calibration texts."""

import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from export.encoder import INPUT
from export.tokens import TokenIds
from runtime.models.session import create_session

Ranges = dict[str, NDArray[np.float32]]  # tensor name → largest magnitude per channel [channels]


def weight_products(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The MatMul nodes whose second operand is a weight, in graph order."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [node for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in weights]


def activation_ranges(model: onnx.ModelProto, texts: Iterable[TokenIds]) -> Ranges:
    """Largest magnitude of every input channel of every weight product, over all tokens of all texts."""
    names = sorted({node.input[0] for node in weight_products(model)})
    tapped = onnx.ModelProto()
    tapped.CopyFrom(model)
    tapped.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "tapped.onnx"
        onnx.save(tapped, file)
        session = create_session(file)
        ranges: Ranges = {}
        for ids in texts:
            for name, value in zip(names, session.run(names, {INPUT: ids}), strict=True):
                largest = np.abs(value).reshape(-1, value.shape[-1]).max(axis=0)
                ranges[name] = np.maximum(ranges[name], largest) if name in ranges else largest
    return ranges
