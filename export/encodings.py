"""One quantisation in two encodings, and the compiled form the runtime maps into memory.

s8 weights are fast and exact where the CPU multiplies u8 by s8 into 32 bits (AVX-512 VNNI, AVX-VNNI, ARM). With AVX2
alone that product saturates at 16 bits and the sums are wrong; u8 weights take another kernel, which is exact there.
Moving every weight and its zero point by 128 leaves each product of differences, and so the vector, the same.
"""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

from export.errors import ExportError
from export.ort_format import in_one_order
from export.quantise import integer_products
from runtime.models.bundle import sha256_file
from runtime.models.derived import DerivedFile

_SHIFT = 128
_MAX_FLIPS = 4096  # a manifest is read at every start; MiniLM needs 216


def as_u8(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with every s8 weight and zero point of an integer product moved to u8."""
    shifted = onnx.ModelProto()
    shifted.CopyFrom(model)
    names = {name for product in integer_products(model) for name in product}
    for tensor in shifted.graph.initializer:
        if tensor.name in names:
            moved = (numpy_helper.to_array(tensor).astype(np.int16) + _SHIFT).astype(np.uint8)
            tensor.CopyFrom(numpy_helper.from_array(moved, tensor.name))
    return shifted


def derivation(source: Path, derived: Path) -> DerivedFile:
    """How `derived` follows from `source`, byte for byte. Raises ExportError where they are not laid out alike."""
    before, after = (np.fromfile(file, np.uint8) for file in (source, derived))
    if len(before) != len(after):
        raise ExportError(f"{derived.name} has {len(after)} bytes and {source.name} {len(before)}: cannot derive it")
    mask = before ^ after
    changes = np.flatnonzero(np.diff(mask)) + 1
    starts = np.concatenate([[0], changes])
    ends = np.concatenate([changes, [len(mask)]])
    flips = [(int(start), int(end - start), int(mask[start])) for start, end in zip(starts, ends, strict=True)]
    flips = [flip for flip in flips if flip[2]]
    if len(flips) > _MAX_FLIPS:
        raise ExportError(f"{derived.name} differs from {source.name} in {len(flips)} places, at most {_MAX_FLIPS}")
    return DerivedFile(source=source.name, sha256=sha256_file(derived), bytes=len(after), flips=flips)


def compile_ort(model: onnx.ModelProto, file: Path) -> None:
    """Write the graph in onnxruntime's own format, for memory-mapped loading by this very version.

    Only passes that hold on every CPU run; weights are packed for the CPU at hand when the file is loaded.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(file)
    options.add_session_config_entry("session.save_model_format", "ORT")
    try:
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its own unexported types
        raise ExportError(f"onnxruntime {onnxruntime.__version__} cannot compile the graph: {error}") from error
    file.write_bytes(in_one_order(file.read_bytes()))
