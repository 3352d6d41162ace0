"""A neuron that fires at one token of each text gets a range like its neighbours', and the vectors stay."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from export.calibration import activation_ranges, gelu_inputs
from export.corpus import calibration_texts, held_out_texts
from export.detector_neurons import with_calm_detectors
from export.encoder_metrics import Encoder, cosines
from export.initialisers import Initialisers
from export.layer_norms import with_light_norms
from export.tokens import MAX_TOKENS, TokenIds, token_ids
from tests.export.conftest import Tiny

CLS = 101
FIRING, RESTING = 20.0, -3.0


@pytest.fixture(scope="module")
def calibration(tiny: Tiny) -> list[TokenIds]:
    return [token_ids(tiny.tokenizer, text) for text in calibration_texts()[:40]]


@pytest.fixture(scope="module")
def detecting(tiny: Tiny) -> onnx.ModelProto:
    """The tiny model with its first layer's neuron 5 made a detector of [CLS]: a channel of the embeddings that only
    this token has, and a neuron that reads nothing else."""
    model = with_light_norms(tiny.fp32)
    return _with_detector(model, rest=RESTING)


def _with_detector(model: onnx.ModelProto, rest: float) -> onnx.ModelProto:
    made = onnx.ModelProto()
    made.CopyFrom(model)
    tensors = Initialisers(made)
    words = next(name for name in tensors.protos if "word_embeddings" in name)
    table = tensors[words].copy()
    table[:, 0] = 0.0
    table[CLS, 0] = 40.0
    tensors.put(words, table)
    gelu = next(node for node in made.graph.node if node.op_type == "Gelu")
    by_output = {node.output[0]: node for node in made.graph.node}
    added = by_output[gelu.input[0]]
    incoming, bias = by_output[added.input[0]].input[1], added.input[1]
    weight, offset = tensors[incoming].copy(), tensors[bias].copy()
    weight[:, 5] = 0
    weight[0, 5] = 1.0
    offset[5] = 0
    tensors.put(incoming, weight)
    tensors.put(bias, offset)
    for tensor in made.graph.initializer:
        tensor.CopyFrom(tensors.protos[tensor.name])
    return _scaled_to(made, incoming, bias, gelu.input[0], rest)


def _scaled_to(model: onnx.ModelProto, incoming: str, bias: str, name: str, rest: float) -> onnx.ModelProto:
    """Weight and bias of neuron 5 so that the weakest firing is `FIRING` and the highest rest is `rest`."""
    ids = [np.asarray([[CLS, *range(2000 + 40 * n, 2030 + 40 * n)]], np.int32) for n in range(20)]
    values = gelu_inputs(model, ids)[name][:, 5]
    low, high = values[values < values.max() / 2].max(), values[values >= values.max() / 2].min()
    slope = (FIRING - rest) / (high - low)
    tensors = Initialisers(model)
    weight, offset = tensors[incoming].copy(), tensors[bias].copy()
    weight[:, 5] *= slope
    offset[5] = rest - slope * low
    for tensor in model.graph.initializer:
        if tensor.name in (incoming, bias):
            tensor.CopyFrom(numpy_helper.from_array(weight if tensor.name == incoming else offset, tensor.name))
    return model


def _embed(model: onnx.ModelProto, tiny: Tiny, file: Path) -> np.ndarray:
    onnx.save(model, file)
    return Encoder(file, tiny.tokenizer, MAX_TOKENS).embed(held_out_texts()[::5])


def test_a_detector_gets_the_range_of_its_neighbours_and_the_vectors_stay(
    tiny: Tiny, detecting: onnx.ModelProto, calibration: list[TokenIds], tmp_path: Path
) -> None:
    ranges = activation_ranges(detecting, calibration)
    calm, calmed = with_calm_detectors(detecting, ranges, gelu_inputs(detecting, calibration))
    first = next(node.output[0] for node in detecting.graph.node if node.op_type == "Gelu")
    assert ranges[first][5] > 15
    assert calmed[first][5] < 6
    assert activation_ranges(calm, calibration)[first][5] < 6.5
    before, after = (_embed(model, tiny, tmp_path / "graph.onnx") for model in (detecting, calm))
    assert cosines(before, after).min > 0.999


def test_a_neuron_with_values_between_is_left_as_it_is(tiny: Tiny, calibration: list[TokenIds]) -> None:
    model = _with_detector(with_light_norms(tiny.fp32), rest=2.0)
    unchanged, ranges = with_calm_detectors(
        model, found := activation_ranges(model, calibration), gelu_inputs(model, calibration)
    )
    before, after = Initialisers(model), Initialisers(unchanged)
    assert all((before[name] == after[name]).all() for name in after.protos)
    assert all((found[name] == ranges[name]).all() for name in found)
