"""A BERT of two small layers with random weights, exported once: seconds instead of a minute, the same code."""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import onnx
import pytest
import torch
from tokenizers import Tokenizer
from transformers import BertConfig, BertModel

from export import quality_gates
from export.calibration import Ranges, activation_ranges
from export.corpus import calibration_texts
from export.encoder import export_with_optimum, fuse, pool_one_text
from export.layer_norms import with_light_norms
from export.minilm import export_text_encoder
from export.recipes import INT8, Gate
from export.source import SourceWeights, find_source
from export.tokens import MAX_TOKENS, load_tokenizer, token_ids
from runtime.models.bundle import Bundle

DIMENSIONS, LAYERS, NEURONS = 64, 2, 128

# Random weights do not average quantisation errors out as trained ones do; what MiniLM must reach is in recipes.py.
TINY_RECIPE = replace(INT8, gate=Gate(min_mean_cosine=0.98, min_cosine=0.95, max_spearman_loss=0.05))


@dataclass(frozen=True)
class Tiny:
    """The tiny model's source, its fp32 graph as it comes from fusion and pooling, and its tokenizer."""

    source: SourceWeights
    fp32: onnx.ModelProto
    tokenizer: Tokenizer


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights, config and tokenizer as sentence-transformers lays them out; one neuron is a loud outlier."""
    folder = tmp_path_factory.mktemp("tiny-bert")
    torch.manual_seed(7)
    config = BertConfig(
        vocab_size=30522,
        hidden_size=DIMENSIONS,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        intermediate_size=NEURONS,
        initializer_range=0.1,
    )
    model = BertModel(config).eval()
    with torch.no_grad():
        for layer in model.encoder.layer:
            layer.intermediate.dense.weight[3] *= 8
            layer.output.dense.weight[:, 3] *= 8
            for part in (layer.attention.self.query, layer.attention.self.value, layer.output.dense):
                part.bias.normal_(std=0.1)
            layer.output.LayerNorm.bias.normal_(std=0.3)
    model.save_pretrained(folder)
    shutil.copy(find_source(None).folder / "tokenizer.json", folder)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    return folder


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    source = find_source(str(tiny_folder))
    tokenizer = load_tokenizer(source.folder / "tokenizer.json")
    fused = fuse(export_with_optimum(source, tmp_path_factory.mktemp("trace")), source)
    return Tiny(source, pool_one_text(fused, MAX_TOKENS, source.dimensions), tokenizer)


@pytest.fixture(scope="session")
def tiny_ranges(tiny: Tiny) -> Ranges:
    return activation_ranges(
        with_light_norms(tiny.fp32), [token_ids(tiny.tokenizer, text) for text in calibration_texts()[:40]]
    )


@pytest.fixture
def without_stsb(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine where the STS-B package is not installed; saves the seconds of 3,000 sentences."""
    monkeypatch.setattr(quality_gates, "load_stsb", lambda split: None)


@pytest.fixture(scope="session")
def tiny_bundle(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    out = tmp_path_factory.mktemp("models") / "tiny"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quality_gates, "load_stsb", lambda split: None)
        export_text_encoder(str(tiny_folder), out, TINY_RECIPE)
    return Bundle.load(out, kind="text-encoder")
