"""fp32 encoder graph → int8: weights per output channel, activations per text, the word table per row.

Every matrix product with a weight becomes `DynamicQuantizeMatMul`: activations to u8 with one scale for the text (it
is alone in its run), an integer product with exact int32 sums, and one multiplication per output channel back to float.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper

from export.calibration import weight_products
from export.encoder import CONTRIB, INPUT, assemble
from export.initialisers import Initialisers

INTEGER_PRODUCT = "DynamicQuantizeMatMul"

_LARGEST = 127  # symmetric: −128 is not used, so that negating a weight is exact
_TINY = 1e-12  # a channel of zeros gets a finite scale


def quantised(model: onnx.ModelProto, per_channel: bool = True) -> onnx.ModelProto:
    """The int8 graph of an fp32 encoder graph, with s8 weights."""
    tensors = Initialisers(model)
    products = {node.output[0]: node for node in weight_products(model)}
    biases = {node.input[0]: node for node in model.graph.node if _adds_bias(node, products, tensors)}
    absorbed = {node.output[0] for node in biases.values()}
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        output = node.output[0]
        if node.op_type == "Gather" and node.input[1] == INPUT:
            nodes.extend(_gather_int8(node, tensors))
        elif output in products:
            nodes.append(_integer_product(node, biases.get(output), tensors, per_channel))
        elif output not in absorbed:
            nodes.append(node)
    return assemble(nodes, tensors.protos, model)


def _adds_bias(node: onnx.NodeProto, products: dict[str, onnx.NodeProto], tensors: Initialisers) -> bool:
    return node.op_type == "Add" and node.input[0] in products and node.input[1] in tensors.protos


def _integer_product(
    node: onnx.NodeProto, bias: onnx.NodeProto | None, tensors: Initialisers, per_channel: bool
) -> onnx.NodeProto:
    """The bias, where the graph adds one, is added as the sums are brought back to float."""
    source, name = node.input
    weight = tensors[name]  # [inputs, outputs]
    largest = np.abs(weight).max(axis=0) if per_channel else np.full(weight.shape[1], np.abs(weight).max())
    scale = (np.maximum(largest, _TINY) / _LARGEST).astype(np.float32)
    integers = np.clip(np.rint(weight / scale), -_LARGEST, _LARGEST).astype(np.int8)
    inputs = [
        source,
        tensors.put(f"{name}.integers", integers),
        tensors.put(f"{name}.scale", scale),
        tensors.put(f"{name}.zero", np.zeros(scale.shape, np.int8)),
    ]
    if bias is None:
        return helper.make_node(INTEGER_PRODUCT, inputs, [node.output[0]], node.name, domain=CONTRIB)
    return helper.make_node(INTEGER_PRODUCT, [*inputs, bias.input[1]], [bias.output[0]], node.name, domain=CONTRIB)


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
