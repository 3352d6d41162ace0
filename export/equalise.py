"""Rewrite an fp32 graph so that it quantises with less error and computes the same.

Integers have one step size for all activations of a product and one per output channel of its weight, so one large
value costs all others their precision. Two exact rewrites, up to float rounding:

split      A neuron of the feed-forward layer whose activation and outgoing weight are both far above the others' (in
           MiniLM's first layers that is one neuron of 1,536) becomes n neurons with the same input and an n-th of the
           outgoing weight. Outlier channel splitting: Zhao et al. 2019, arXiv:1901.09504. It needs no operation, only
           a few more columns.
equalise   x · w = (x / s) · (s · w) per channel; s moves range from activations into weights. SmoothQuant: Xiao et al.
           2023, arXiv:2211.10438, equation 4. x / s costs one multiplication per channel, because the residual path
           reads x too. The attention's output projection is left as it is: its inputs range alike.
"""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from export.calibration import Ranges, weight_products
from export.encoder import assemble
from export.initialisers import Initialisers

Vector = NDArray[np.float32]

_TINY = 1e-5  # a channel that never fires gets a finite scale


def equalised(
    model: onnx.ModelProto, ranges: Ranges, alpha: float, split_neurons: int, *, outgoing: bool = True
) -> onnx.ModelProto:
    """The rewritten fp32 graph. `ranges` from `activation_ranges`; `alpha` 0 … 1; `split_neurons` added per layer.

    outgoing: whether the feed-forward's second product is equalised, too: one more pass over the widest tensor.
    """
    tensors = Initialisers(model)
    ranges = _split_neurons(model, tensors, ranges, split_neurons)
    equalise = {"SimplifiedLayerNormalization", *(("Gelu",) if outgoing else ())}
    sources = {node.output[0] for node in model.graph.node if node.op_type in equalise}
    divisors = _move_ranges(model, tensors, ranges, alpha, sources)
    nodes: list[onnx.NodeProto] = []
    divided: set[str] = set()
    products = {node.output[0] for node in weight_products(model)}
    for original in model.graph.node:
        node = onnx.NodeProto()
        node.CopyFrom(original)
        source = node.input[0]
        if node.output[0] in products and source in divisors:
            if source not in divided:
                factor = tensors.put(f"{source}.factor", 1 / divisors[source])
                nodes.append(helper.make_node("Mul", [source, factor], [f"{source}.equalised"]))
                divided.add(source)
            node.input[0] = f"{source}.equalised"
        nodes.append(node)
    return assemble(nodes, tensors.protos, model)


def _split_neurons(model: onnx.ModelProto, tensors: Initialisers, ranges: Ranges, extra: int) -> Ranges:
    """Give `extra` more neurons to each feed-forward layer, one by one where activation × weight is largest."""
    products = {node.output[0]: node for node in weight_products(model)}
    by_output = {node.output[0]: node for node in model.graph.node}
    split = dict(ranges)
    for outgoing in products.values():
        activation = by_output.get(outgoing.input[0])
        if activation is None or activation.op_type != "Gelu":
            continue
        product, bias = by_output[activation.input[0]].input
        weight = tensors[outgoing.input[1]]  # [neurons, dimensions]
        reach = ranges[outgoing.input[0]] * np.abs(weight).max(axis=1)
        copies = np.ones(reach.size, np.int64)
        for _ in range(extra):
            copies[np.argmax(reach / copies)] += 1
        order = np.repeat(np.arange(reach.size), copies)  # [neurons + extra], the neuron each one is a copy of
        incoming = products[product].input[1]
        tensors.put(incoming, tensors[incoming][:, order])
        tensors.put(bias, tensors[bias][order])
        tensors.put(outgoing.input[1], (weight / copies[:, None].astype(np.float32))[order])
        split[outgoing.input[0]] = ranges[outgoing.input[0]][order]
    return split


def _move_ranges(
    model: onnx.ModelProto, tensors: Initialisers, ranges: Ranges, alpha: float, sources: set[str]
) -> dict[str, Vector]:
    """s = max|x|^α / max|w|^(1−α) per channel; multiplies the weights by it and returns it for the activations.

    Products that read the same tensor (query, key and value) share one s, so that it is divided once.
    """
    readers: dict[str, list[str]] = {}
    for node in weight_products(model):
        if node.input[0] in sources:
            readers.setdefault(node.input[0], []).append(node.input[1])
    divisors: dict[str, Vector] = {}
    for source, weights in readers.items():
        largest_weight = np.max([np.abs(tensors[name]).max(axis=1) for name in weights], axis=0)
        scale = np.maximum(ranges[source], _TINY) ** alpha / np.maximum(largest_weight, _TINY) ** (1 - alpha)
        divisors[source] = (scale / np.exp(np.log(scale).mean())).astype(np.float32)
        for name in weights:
            tensors.put(name, tensors[name] * divisors[source][:, None])
    return divisors
