"""fp32 encoder graph → int8: weights per channel, activations per text, the word table per row.

Every matrix product with a weight becomes `DynamicQuantizeMatMul`: activations to u8 with one scale for the text (it
is alone in its run), an integer product with exact int32 sums, and one multiplication per output channel back to float.
"""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from export.calibration import Ranges, weight_products
from export.encoder import CONTRIB, INPUT, assemble
from export.recipes import Recipe

Matrix = NDArray[np.float32]  # [inputs, outputs]
Vector = NDArray[np.float32]

INTEGER_PRODUCT = "DynamicQuantizeMatMul"
_LARGEST = 127  # symmetric: −128 is not used, so that negating a weight is exact


class _Tensors:
    """The graph's initialisers by name, read and written as arrays."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.protos = {tensor.name: tensor for tensor in model.graph.initializer}

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        return numpy_helper.to_array(self.protos[name])

    def put(self, name: str, value: NDArray[np.generic]) -> str:
        self.protos[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name


def quantise(model: onnx.ModelProto, recipe: Recipe, ranges: Ranges, max_tokens: int) -> onnx.ModelProto:
    """The int8 graph of an fp32 encoder graph, with s8 weights. `ranges` come from `activation_ranges`."""
    tensors = _Tensors(model)
    divisors: dict[str, Vector] = {}  # what the activations of a product's input are divided by
    folded: set[str] = set()
    if recipe.equalise_alpha is not None:
        divisors = _equalise(model, tensors, ranges, recipe.equalise_alpha)
        folded = _fold_into_values(model, tensors, divisors)
    products = {node.output[0]: node for node in weight_products(model)}
    nodes: list[onnx.NodeProto] = []
    equalised: set[str] = set()
    for node in model.graph.node:
        if node.op_type == "EmbedLayerNormalization":
            nodes.extend(_embed_from_int8(node, tensors))
        elif node.output[0] not in products:
            nodes.append(node)
        else:
            source = node.input[0]
            if source in divisors and source not in folded:
                if source not in equalised:
                    factor = tensors.put(f"{source}.equalise", 1 / divisors[source])
                    nodes.append(helper.make_node("Mul", [source, factor], [f"{source}.equalised"]))
                    equalised.add(source)
                source = f"{source}.equalised"
            nodes.append(_integer_product(node, source, tensors, recipe.per_channel))
    dimensions = model.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    return assemble(nodes, tensors.protos, max_tokens, dimensions)


def _equalise(model: onnx.ModelProto, tensors: _Tensors, ranges: Ranges, alpha: float) -> dict[str, Vector]:
    """Move range from activations into weights: s = max|x|^α / max|w|^(1−α) per channel, x / s, and w · s in place.

    Products that read the same tensor (query, key and value) share one s, so that it is divided once.
    """
    readers: dict[str, list[str]] = {}
    for node in weight_products(model):
        readers.setdefault(node.input[0], []).append(node.input[1])
    divisors: dict[str, Vector] = {}
    for source, weights in readers.items():
        largest_weight = np.max([np.abs(tensors[name]).max(axis=1) for name in weights], axis=0)
        scale = np.maximum(ranges[source], 1e-5) ** alpha / np.maximum(largest_weight, 1e-5) ** (1 - alpha)
        divisors[source] = (scale / np.exp(np.log(scale).mean())).astype(np.float32)
        for name in weights:
            tensors.put(name, tensors[name] * divisors[source][:, None])
    return divisors


def _fold_into_values(model: onnx.ModelProto, tensors: _Tensors, divisors: dict[str, Vector]) -> set[str]:
    """Attention mixes tokens, not channels: its output is divided exactly by dividing the value projection instead.

    Returns the tensors that thereby arrive divided already.
    """
    products = {node.output[0]: node for node in weight_products(model)}
    folded = set()
    for node in model.graph.node:
        if node.op_type != "MultiHeadAttention":
            continue
        _, _, value, bias_name = node.input
        divisor = divisors[node.output[0]]
        weight = products[value].input[1]
        tensors.put(weight, tensors[weight] / divisor)
        bias = tensors[bias_name].copy()
        bias[-divisor.size :] /= divisor
        tensors.put(bias_name, bias)
        folded.add(node.output[0])
    return folded


def _integer_product(node: onnx.NodeProto, source: str, tensors: _Tensors, per_channel: bool) -> onnx.NodeProto:
    name = node.input[1]
    weight: Matrix = tensors[name]
    largest = np.abs(weight).max(axis=0) if per_channel else np.full(weight.shape[1], np.abs(weight).max())
    scale = (np.maximum(largest, 1e-12) / _LARGEST).astype(np.float32)
    integers = np.clip(np.rint(weight / scale), -_LARGEST, _LARGEST).astype(np.int8)
    inputs = [
        source,
        tensors.put(f"{name}.integers", integers),
        tensors.put(f"{name}.scale", scale),
        tensors.put(f"{name}.zero", np.zeros(scale.shape, np.int8)),
    ]
    return helper.make_node(INTEGER_PRODUCT, inputs, [node.output[0]], node.name, domain=CONTRIB)


def _embed_from_int8(node: onnx.NodeProto, tensors: _Tensors) -> list[onnx.NodeProto]:
    """Gather int8 rows and bring only those to float: dequantised first, constant folding would make the table fp32."""
    _, _, words, positions, _, gain, bias = node.input
    table = tensors[words]
    scale = (np.maximum(np.abs(table).max(axis=1, keepdims=True), 1e-12) / _LARGEST).astype(np.float32)
    integers = tensors.put(f"{words}.integers", np.rint(table / scale).astype(np.int8))
    scales = tensors.put(f"{words}.scale", scale)
    zero = tensors.put("embed.zero", np.asarray([0], np.int64))
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
            epsilon=next(helper.get_attribute_value(a) for a in node.attribute if a.name == "epsilon"),
        ),
    ]
