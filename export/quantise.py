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
    products = {node.output[0] for node in weight_products(model)}
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        if node.op_type == "EmbedLayerNormalization":
            nodes.extend(_embed_from_int8(node, tensors))
        elif node.output[0] in products:
            nodes.append(_integer_product(node, tensors, per_channel))
        else:
            nodes.append(node)
    return assemble(nodes, tensors.protos, model)


def _integer_product(node: onnx.NodeProto, tensors: Initialisers, per_channel: bool) -> onnx.NodeProto:
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
    return helper.make_node(INTEGER_PRODUCT, inputs, [node.output[0]], node.name, domain=CONTRIB)


def _embed_from_int8(node: onnx.NodeProto, tensors: Initialisers) -> list[onnx.NodeProto]:
    """Gather int8 rows and bring only those to float: dequantised first, constant folding would make the table fp32."""
    _, _, words, positions, _, gain, bias = node.input
    table = tensors[words]  # [vocabulary, dimensions]
    scale = (np.maximum(np.abs(table).max(axis=1, keepdims=True), _TINY) / _LARGEST).astype(np.float32)
    integers = tensors.put(f"{words}.integers", np.rint(table / scale).astype(np.int8))
    scales = tensors.put(f"{words}.scale", scale)
    zero = tensors.put("embed.zero", np.asarray([0], np.int64))
    epsilon = next(helper.get_attribute_value(attribute) for attribute in node.attribute if attribute.name == "epsilon")
    return [
        helper.make_node("Gather", [integers, INPUT], ["embed.integers"]),  # s8 [1, tokens, dimensions]
        helper.make_node("Gather", [scales, INPUT], ["embed.scale"]),  # f32 [1, tokens, 1]
        helper.make_node("Cast", ["embed.integers"], ["embed.float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["embed.float", "embed.scale"], ["embed.words"]),
        helper.make_node("Shape", [INPUT], ["embed.tokens"], start=1),  # i64 [1]
        helper.make_node("Slice", [positions, zero, "embed.tokens", zero], ["embed.positions"]),
        helper.make_node(
            "SkipLayerNormalization",
            ["embed.words", "embed.positions", gain, bias],
            [node.output[0]],
            domain=CONTRIB,
            epsilon=epsilon,
        ),
    ]
