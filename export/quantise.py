"""fp32 encoder graph → int8: weights per output channel, activations per text, the word table per row.

Every matrix product with a weight becomes an integer one: activations to u8 with one scale for the text (it is alone in
its run), a product with exact int32 sums, and one multiplication per output channel back to float. Query, key and
value read the same activations, which are brought to u8 once (`DynamicQuantizeLinear`, `MatMulIntegerToFloat`);
elsewhere both steps are one operation (`DynamicQuantizeMatMul`).
"""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto, helper

from export.calibration import weight_products
from export.encoder import CONTRIB, INPUT, assemble
from export.initialisers import Initialisers

PRODUCT = "DynamicQuantizeMatMul"
PRODUCT_OF_SHARED = "MatMulIntegerToFloat"
_ZERO_POINT_INPUT = {PRODUCT: 3, PRODUCT_OF_SHARED: 5}

_LARGEST = 127  # symmetric: −128 is not used, so that negating a weight is exact
_TINY = 1e-12  # a channel of zeros gets a finite scale


def integer_products(model: onnx.ModelProto) -> Iterator[tuple[str, str]]:
    """The names of weight and zero point of every integer product, in graph order."""
    for node in model.graph.node:
        if node.op_type in _ZERO_POINT_INPUT:
            yield node.input[1], node.input[_ZERO_POINT_INPUT[node.op_type]]


def quantised(model: onnx.ModelProto, per_channel: bool = True) -> onnx.ModelProto:
    """The int8 graph of an fp32 encoder graph, with s8 weights."""
    return _Quantisation(model, per_channel).run()


class _Quantisation:
    """One pass over the nodes."""

    def __init__(self, model: onnx.ModelProto, per_channel: bool) -> None:
        self._model = model
        self._per_channel = per_channel
        self._tensors = Initialisers(model)
        self._products = {node.output[0]: node for node in weight_products(model)}
        # The bias, where the graph adds one, is added as the sums are brought back to float.
        self._biases = {node.input[0]: node for node in model.graph.node if self._adds_bias(node)}
        self._readers = Counter(node.input[0] for node in self._products.values())
        self._nodes: list[onnx.NodeProto] = []

    def run(self) -> onnx.ModelProto:
        absorbed = {node.output[0] for node in self._biases.values()}
        for node in self._model.graph.node:
            if node.op_type == "Gather" and node.input[1] == INPUT:
                self._nodes.extend(_gather_int8(node, self._tensors))
            elif node.output[0] in self._products:
                self._integer_product(node)
            elif node.output[0] not in absorbed:
                self._nodes.append(node)
        return assemble(self._nodes, self._tensors.protos, self._model)

    def _adds_bias(self, node: onnx.NodeProto) -> bool:
        return node.op_type == "Add" and node.input[0] in self._products and node.input[1] in self._tensors.protos

    def _integer_product(self, node: onnx.NodeProto) -> None:
        source, name = node.input
        integers, scale, zero = self._integer_weight(name)
        added = self._biases.get(node.output[0])
        bias = [] if added is None else [added.input[1]]
        outputs = list(node.output if added is None else added.output)
        if self._readers[source] == 1:
            operation, inputs = PRODUCT, [source, integers, scale, zero, *bias]
        else:
            quantised_once = [f"{source}.{part}" for part in ("integers", "scale", "zero")]
            if not any(found.op_type == "DynamicQuantizeLinear" and found.input[0] == source for found in self._nodes):
                self._nodes.append(helper.make_node("DynamicQuantizeLinear", [source], quantised_once))
            activations, activation_scale, activation_zero = quantised_once
            operation = PRODUCT_OF_SHARED
            inputs = [activations, integers, activation_scale, scale, activation_zero, zero, *bias]
        self._nodes.append(helper.make_node(operation, inputs, outputs, node.name, domain=CONTRIB))

    def _integer_weight(self, name: str) -> tuple[str, str, str]:
        weight = self._tensors[name]  # [inputs, outputs]
        magnitude = np.abs(weight)
        largest = magnitude.max(axis=0) if self._per_channel else np.full(weight.shape[1], magnitude.max())
        scale = (np.maximum(largest, _TINY) / _LARGEST).astype(np.float32)
        integers = np.clip(np.rint(weight / scale), -_LARGEST, _LARGEST).astype(np.int8)
        return (
            self._tensors.put(f"{name}.integers", integers),
            self._tensors.put(f"{name}.scale", scale),
            self._tensors.put(f"{name}.zero", np.zeros(scale.shape, np.int8)),
        )


def _gather_int8(node: onnx.NodeProto, tensors: Initialisers) -> list[onnx.NodeProto]:
    """Gather int8 rows and bring only those to float: dequantised first, constant folding would make the table fp32."""
    words, output = node.input[0], node.output[0]
    table = tensors[words]  # [vocabulary, dimensions]
    scale = (np.maximum(np.abs(table).max(axis=1, keepdims=True), _TINY) / _LARGEST).astype(np.float32)
    integers = tensors.put(f"{words}.integers", np.rint(table / scale).astype(np.int8))
    scales = tensors.put(f"{words}.scale", scale)
    return [
        helper.make_node("Gather", [integers, INPUT], [f"{output}.integers"]),  # s8 [1, tokens, dimensions]
        helper.make_node("Gather", [scales, INPUT], [f"{output}.scale"]),  # f32 [1, tokens, 1]
        helper.make_node("Cast", [f"{output}.integers"], [f"{output}.float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", [f"{output}.float", f"{output}.scale"], [output]),
    ]
