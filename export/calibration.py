"""Calibration: what flows through a graph over the calibration texts, and how far it ranges per channel."""

import tempfile
from collections.abc import Iterable, Iterator
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
    ranges: Ranges = {}
    for found in _values(model, sorted({node.input[0] for node in weight_products(model)}), texts):
        for name, value in found.items():
            largest = np.abs(value).max(axis=0)
            ranges[name] = np.maximum(ranges[name], largest) if name in ranges else largest
    return ranges


def gelu_inputs(model: onnx.ModelProto, texts: Iterable[TokenIds]) -> dict[str, NDArray[np.float32]]:
    """What every neuron of every feed-forward layer gets: input of Gelu → float32 [all tokens, neurons]."""
    found = list(_values(model, [node.input[0] for node in model.graph.node if node.op_type == "Gelu"], texts))
    return {name: np.concatenate([values[name] for values in found]) for name in found[0]}


def _values(
    model: onnx.ModelProto, names: list[str], texts: Iterable[TokenIds]
) -> Iterator[dict[str, NDArray[np.float32]]]:
    """The named tensors, [tokens, channels], of one text after the other."""
    tapped = onnx.ModelProto()
    tapped.CopyFrom(model)
    tapped.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "tapped.onnx"
        onnx.save(tapped, file)
        session = create_session(file)
        for ids in texts:
            values = session.run(names, {INPUT: ids})
            yield {name: value.reshape(-1, value.shape[-1]) for name, value in zip(names, values, strict=True)}
