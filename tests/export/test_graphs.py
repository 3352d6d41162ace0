"""Each rewrite of the graph: exact rewrites keep the vectors, quantisation changes them little, both encodings are
bit-identical."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from transformers import AutoModel

from export.calibration import Ranges, weight_products
from export.corpus import held_out_texts
from export.encoder import INPUT, OUTPUT
from export.encoder_metrics import Encoder, Vectors, cosines
from export.encodings import as_u8, compile_ort
from export.equalise import equalised
from export.errors import ExportError
from export.layer_norms import with_light_norms
from export.operator_profile import operator_times
from export.ort_format import in_one_order
from export.quantise import PRODUCT, PRODUCT_OF_SHARED, integer_products, quantised
from export.tokens import MAX_TOKENS, token_ids
from tests.export.conftest import LAYERS, NEURONS, Tiny

TEXTS = held_out_texts()[::5]


@pytest.fixture(scope="module")
def reference(tiny: Tiny) -> Vectors:
    """The plain way: PyTorch, mean over tokens, unit length."""
    model = AutoModel.from_pretrained(tiny.source.folder).eval()
    vectors = []
    for text in TEXTS:
        ids = torch.from_numpy(token_ids(tiny.tokenizer, text).astype(np.int64))
        with torch.inference_mode():
            hidden = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0]
        mean = hidden.mean(dim=0).numpy()
        vectors.append(mean / np.linalg.norm(mean))
    return np.stack(vectors)


def embed(graph: onnx.ModelProto, tiny: Tiny, folder: Path) -> Vectors:
    file = folder / "graph.onnx"
    onnx.save(graph, file)
    return Encoder(file, tiny.tokenizer, MAX_TOKENS).embed(TEXTS)


def arrays(graph: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.graph.initializer}


def test_the_interface_is_one_text_of_ids_to_one_vector(tiny: Tiny) -> None:
    graph = with_light_norms(tiny.fp32).graph
    assert [value.name for value in graph.input] == [INPUT]
    assert [value.name for value in graph.output] == [OUTPUT]
    assert graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.INT32


def test_the_fp32_graph_is_the_published_model(tiny: Tiny, reference: Vectors, tmp_path: Path) -> None:
    assert cosines(reference, embed(tiny.fp32, tiny, tmp_path)).min > 0.999999


def test_light_norms_compute_the_same(tiny: Tiny, reference: Vectors, tmp_path: Path) -> None:
    light = with_light_norms(tiny.fp32)
    assert not {node.op_type for node in light.graph.node} & {"SkipLayerNormalization", "EmbedLayerNormalization"}
    assert cosines(reference, embed(light, tiny, tmp_path)).min > 0.999999


@pytest.mark.parametrize(("alpha", "split"), [(0.0, 0), (0.5, 1), (0.75, 16), (1.0, 5)])
def test_equalising_computes_the_same(
    tiny: Tiny, tiny_ranges: Ranges, reference: Vectors, tmp_path: Path, alpha: float, split: int
) -> None:
    graph = equalised(with_light_norms(tiny.fp32), tiny_ranges, alpha, split)
    assert cosines(reference, embed(graph, tiny, tmp_path)).min > 0.999999


def test_attention_reads_the_products_as_they_are(tiny: Tiny) -> None:
    graph = quantised(with_light_norms(tiny.fp32)).graph
    attention = [node for node in graph.node if node.op_type == "Attention"]
    products = {node.output[0] for node in graph.node if node.op_type == PRODUCT_OF_SHARED}
    assert len(attention) == LAYERS
    assert all(set(node.input) <= products for node in attention)


def test_activations_that_three_products_share_are_quantised_once(tiny: Tiny) -> None:
    graph = quantised(with_light_norms(tiny.fp32)).graph
    assert [node.op_type for node in graph.node].count("DynamicQuantizeLinear") == LAYERS
    assert len({node.input[0] for node in graph.node if node.op_type == PRODUCT_OF_SHARED}) == LAYERS


def test_without_the_outgoing_product_the_widest_tensor_is_not_multiplied(tiny: Tiny, tiny_ranges: Ranges) -> None:
    def multiplied_gelus(*, outgoing: bool) -> int:
        graph = equalised(with_light_norms(tiny.fp32), tiny_ranges, 0.75, 4, outgoing=outgoing).graph
        gelus = {node.output[0] for node in graph.node if node.op_type == "Gelu"}
        return sum(node.op_type == "Mul" and node.input[0] in gelus for node in graph.node)

    assert (multiplied_gelus(outgoing=True), multiplied_gelus(outgoing=False)) == (LAYERS, 0)


def test_the_outlier_neuron_is_split(tiny: Tiny, tiny_ranges: Ranges) -> None:
    def outgoing(graph: onnx.ModelProto) -> list[np.ndarray]:
        weights = [arrays(graph)[node.input[1]] for node in weight_products(graph)]
        return [weight for weight in weights if weight.shape[0] >= NEURONS]

    light = with_light_norms(tiny.fp32)
    split = outgoing(equalised(light, tiny_ranges, 0.0, 4))
    assert len(split) == LAYERS
    for before, after in zip(outgoing(light), split, strict=True):
        assert after.shape[0] == NEURONS + 4
        assert np.abs(after).max() < np.abs(before).max()


def test_rewrites_do_not_change_their_input(tiny: Tiny, tiny_ranges: Ranges) -> None:
    before = tiny.fp32.SerializeToString(deterministic=True)
    light = with_light_norms(tiny.fp32)
    halfway = light.SerializeToString(deterministic=True)
    quantised(equalised(light, tiny_ranges, 0.75, 4))
    assert light.SerializeToString(deterministic=True) == halfway
    assert tiny.fp32.SerializeToString(deterministic=True) == before


def test_quantised_weights_and_word_table_are_int8(tiny: Tiny, tiny_ranges: Ranges) -> None:
    graph = quantised(equalised(with_light_norms(tiny.fp32), tiny_ranges, 0.75, 4))
    assert len(list(integer_products(graph))) == 6 * LAYERS
    assert not weight_products(graph)
    tensors = arrays(graph)
    matrices = {name: value for name, value in tensors.items() if value.ndim == 2 and min(value.shape) > 1}
    floats = [name for name, value in matrices.items() if value.dtype == np.float32]
    assert floats == ["embeddings.position_embeddings.weight"]
    for name in matrices.keys() - set(floats):
        assert tensors[name].dtype == np.int8
        assert tensors[name].min() >= -127


@pytest.mark.parametrize("per_channel", [True, False])
def test_quantising_changes_the_vectors_little(
    tiny: Tiny, tiny_ranges: Ranges, reference: Vectors, tmp_path: Path, per_channel: bool
) -> None:
    graph = quantised(equalised(with_light_norms(tiny.fp32), tiny_ranges, 0.75, 16), per_channel)
    assert cosines(reference, embed(graph, tiny, tmp_path)).min > 0.95


def test_both_encodings_hold_the_same_integers(tiny: Tiny) -> None:
    s8 = quantised(with_light_norms(tiny.fp32))
    u8, s8_arrays = arrays(as_u8(s8)), arrays(s8)
    for weight, zero in integer_products(s8):
        assert u8[weight].dtype == np.uint8
        moved = u8[weight].astype(int) - u8[zero]
        assert (moved == s8_arrays[weight].astype(int) - s8_arrays[zero]).all()


def test_compiled_twice_the_same_bytes(tiny: Tiny, tmp_path: Path) -> None:
    graph = quantised(with_light_norms(tiny.fp32))
    for name in ("a.ort", "b.ort"):
        compile_ort(graph, tmp_path / name)
    assert (tmp_path / "a.ort").read_bytes() == (tmp_path / "b.ort").read_bytes()


def test_the_compiled_graph_computes_what_the_canonical_one_does(tiny: Tiny, tmp_path: Path) -> None:
    graph = quantised(with_light_norms(tiny.fp32))
    compile_ort(graph, tmp_path / "model.ort")
    compiled = Encoder(tmp_path / "model.ort", tiny.tokenizer, MAX_TOKENS).embed(TEXTS)
    assert compiled.tobytes() == embed(graph, tiny, tmp_path).tobytes()


def test_ordering_needs_a_compiled_graph() -> None:
    with pytest.raises(ExportError, match=r"not an \.ort file"):
        in_one_order(b"\0" * 64)


def test_compiling_does_not_expand_the_word_table(tiny: Tiny, tmp_path: Path) -> None:
    graph = quantised(with_light_norms(tiny.fp32))
    compile_ort(graph, tmp_path / "model.ort")
    assert (tmp_path / "model.ort").stat().st_size < 1.1 * graph.ByteSize()


def test_a_vector_does_not_depend_on_the_run_or_the_thread(tiny: Tiny, tmp_path: Path) -> None:
    compile_ort(as_u8(quantised(with_light_norms(tiny.fp32))), tmp_path / "model.ort")
    encoder = Encoder(tmp_path / "model.ort", tiny.tokenizer, MAX_TOKENS)
    alone = encoder.embed(TEXTS)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(encoder.embed, [TEXTS] * 8))
    assert all(vectors.tobytes() == alone.tobytes() for vectors in together)


def test_operator_times_cover_the_integer_products(tiny: Tiny, tmp_path: Path) -> None:
    onnx.save(quantised(with_light_norms(tiny.fp32)), tmp_path / "model.onnx")
    counts = {operator: count for operator, count, _ in operator_times(tmp_path / "model.onnx", tokens=16)}
    assert (counts[PRODUCT], counts[PRODUCT_OF_SHARED]) == (3 * LAYERS, 3 * LAYERS)
