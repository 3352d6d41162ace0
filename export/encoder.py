"""The fp32 encoder graph: from a folder of weights to one ONNX graph, token ids in, unit vector out.

    input_ids int32 [1, tokens]  →  embedding float32 [1, dimensions], length 1

One text per run at its exact length: the attention mask is all ones and the token types all zeros, so both are folded
away. That is fewer inputs per run, and onnxruntime has a faster kernel for attention without a mask.
"""

import warnings
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.errors import ExportError
from export.source import SourceWeights

INPUT = "input_ids"
OUTPUT = "embedding"
CONTRIB = "com.microsoft"
TRACE_OPSET = 18  # the newest that PyTorch traces these models to
OPSET = 23  # the first with an attention of its own
_IR_VERSION = 11  # the one that opset came with; onnx would write its newest

_ATTENTION = "MultiHeadAttention"


def export_with_optimum(source: SourceWeights, folder: Path) -> Path:
    """Trace the PyTorch model with optimum; returns the `.onnx` file, unfused, in `folder`."""
    from optimum.exporters.onnx import main_export

    _quiet()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing constants of the mask code, which is folded away below
        main_export(
            str(source.folder),
            output=folder,
            task="feature-extraction",
            library_name="transformers",
            opset=TRACE_OPSET,
            do_validation=False,
            no_post_process=True,
        )
    return folder / "model.onnx"


def _quiet() -> None:
    """Silence the warnings and progress bars of transformers."""
    from transformers.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]


def fuse(model_file: Path, source: SourceWeights) -> onnx.ModelProto:
    """Fuse BERT's subgraphs into onnxruntime's contrib ops. Raises ExportError when a layer was not recognised."""
    from onnxruntime.transformers import optimizer
    from onnxruntime.transformers.fusion_options import FusionOptions

    options = FusionOptions("bert")
    options.use_multi_head_attention = True
    fused = optimizer.optimize_model(
        str(model_file),
        "bert",
        num_heads=source.heads,
        hidden_size=source.dimensions,
        optimization_options=options,
        opt_level=0,  # Python fusions alone: onnxruntime's own passes run when the graph is compiled
    )
    counts = fused.get_fused_operator_statistics()
    layers = counts[_ATTENTION]
    if layers == 0 or counts["SkipLayerNormalization"] != 2 * layers or counts["EmbedLayerNormalization"] != 1:
        raise ExportError(f"fusion did not recognise this model as BERT: {counts}")
    model: onnx.ModelProto = fused.model
    return model


def pool_one_text(fused: onnx.ModelProto, max_tokens: int, dimensions: int) -> onnx.ModelProto:
    """Drop mask and token types, fold the type-0 row into the positions, pool by mean and scale to unit length."""
    graph = fused.graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        if node.op_type == "Cast":  # the three int64 inputs, replaced by one int32
            continue
        if node.op_type == "EmbedLayerNormalization":
            _, _, words, positions, types, gain, bias, _ = node.input
            rows = numpy_helper.to_array(tensors[positions])[:max_tokens] + numpy_helper.to_array(tensors[types])[0]
            tensors[positions] = numpy_helper.from_array(rows, positions)
            node.input[:] = [INPUT, "", words, positions, "", gain, bias]
            node.output[:] = [node.output[0], ""]
        if node.op_type == _ATTENTION:
            query, key, value, bias, _ = node.input
            node.input[:] = [query, key, value, bias]
            heads = next(attribute for attribute in node.attribute if attribute.name == "num_heads")
            del node.attribute[:]
            node.attribute.append(heads)
        nodes.append(node)
    tensors["pooled_axes"] = numpy_helper.from_array(np.asarray([1], np.int64), "pooled_axes")
    hidden = graph.output[0].name  # [1, tokens, dimensions]
    nodes.append(helper.make_node("ReduceMean", [hidden, "pooled_axes"], ["pooled"], "pool", keepdims=0))
    nodes.append(helper.make_node("LpNormalization", ["pooled"], [OUTPUT], "normalise", axis=1, p=2))
    interface = helper.make_graph(
        [],
        f"text encoder, one text a run, at most {max_tokens} tokens",
        [helper.make_tensor_value_info(INPUT, TensorProto.INT32, [1, "tokens"])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [1, dimensions])],
    )
    return assemble(nodes, tensors, helper.make_model(interface))


def assemble(
    nodes: list[onnx.NodeProto], tensors: dict[str, onnx.TensorProto], like: onnx.ModelProto
) -> onnx.ModelProto:
    """A model with the interface of `like`. Tensors nothing reads are left out; sorted names keep bytes stable."""
    read = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        like.graph.name,
        like.graph.input,
        like.graph.output,
        [tensors[name] for name in sorted(read & tensors.keys())],
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)],
        producer_name="vows-edge",
    )
    model.ir_version = _IR_VERSION
    return model
