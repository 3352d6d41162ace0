"""Give the neurons that detect one token per text a range like that of their neighbours.

In MiniLM's first layers one or two neurons fire at a single token of every text, three to four times as strongly as any
other neuron ever does, and are negative at all other tokens: the "massive activations" of Sun et al. 2024
(arXiv:2402.17762). They would take most of the one scale that the layer's activations have. Such a neuron has two
states and nothing between, so its curve there is free:

    GELU(x)  ≈  strength · GELU((x − threshold) / width)

is the same where it fires and zero where it does not. It costs no operation: width and threshold go into the incoming
weights, the strength into the outgoing ones. The mean of what GELU makes of the negative state goes into the bias.
"""

import math
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from export.calibration import Ranges, weight_products
from export.encoder import assemble
from export.initialisers import Initialisers

_FIRING = 5.5  # the new activation where it fires; other neurons of MiniLM reach 5 to 7
_RESTING = -3.0  # the new input, at most, where it does not: GELU(−3) is −0.004
_LOUD = 7.5  # a neuron is rescaled when it fires more strongly than this …
_STEADY = 0.9  # … and always by at least this share of its strongest


@dataclass(frozen=True)
class _Detector:
    """What the rescaling of one neuron needs. `tail`: the mean of GELU(x) where it rests."""

    neuron: int
    width: float
    threshold: float
    strength: float
    tail: float


def with_calm_detectors(
    model: onnx.ModelProto, ranges: Ranges, inputs: dict[str, NDArray[np.float32]]
) -> tuple[onnx.ModelProto, Ranges]:
    """The rewritten fp32 graph and its ranges. `ranges` from `activation_ranges`, `inputs` from `gelu_inputs`.

    A neuron that has values between its two states is left as it is, and so is a model without such neurons.
    """
    tensors = Initialisers(model)
    calmed = dict(ranges)
    by_output = {node.output[0]: node for node in model.graph.node}
    by_input = {node.input[0]: node for node in model.graph.node}
    products = {node.input[0]: node for node in weight_products(model)}
    for gelu in (node for node in model.graph.node if node.op_type == "Gelu"):
        added = by_output[gelu.input[0]]
        incoming, bias = by_output[added.input[0]].input[1], added.input[1]
        outgoing = products[gelu.output[0]]
        outgoing_bias = by_input[outgoing.output[0]].input[1]
        before, offset, after = (tensors[name].copy() for name in (incoming, bias, outgoing.input[1]))
        shift, largest = tensors[outgoing_bias].copy(), calmed[gelu.output[0]].copy()
        for found in _detectors(inputs[gelu.input[0]]):
            neuron = found.neuron
            shift += np.float32(found.tail) * after[neuron]
            before[:, neuron] /= found.width
            offset[neuron] = (offset[neuron] - found.threshold) / found.width
            after[neuron] *= found.strength
            largest[neuron] = _FIRING
        for name, value in ((incoming, before), (bias, offset), (outgoing.input[1], after), (outgoing_bias, shift)):
            tensors.put(name, value)
        calmed[gelu.output[0]] = largest
    return assemble(list(model.graph.node), tensors.protos, model), calmed


def _detectors(inputs: NDArray[np.float32]) -> list[_Detector]:
    """The neurons of one layer, inputs [tokens, neurons], that either fire or rest."""
    found = []
    for neuron in np.flatnonzero(inputs.max(axis=0) > _LOUD):
        values = inputs[:, neuron].astype(np.float64)
        fires = values > values.max() / 2
        weakest, strongest = values[fires].min(), values.max()
        resting = values[~fires]
        if resting.size == 0 or resting.max() > 0 or weakest < _STEADY * strongest:
            continue
        firing = float(np.median(values[fires]))
        width = (firing - float(resting.max())) / (_FIRING - _RESTING)
        tail = float(np.mean([0.5 * x * (1 + math.erf(x / math.sqrt(2))) for x in resting]))
        found.append(_Detector(int(neuron), width, firing - _FIRING * width, firing / _FIRING, tail))
    return found
