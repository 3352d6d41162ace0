"""The one place where onnxruntime sessions are made and their options set."""

import os
from pathlib import Path

# Read when the library loads; without it the Linux wheels may send telemetry, and this process makes no outbound call.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime as ort

ort.set_default_logger_severity(3)


def create_session(model: Path) -> ort.InferenceSession:
    """Open a `.onnx` or `.ort` model for one text a run on the calling thread.

    An `.ort` file is memory-mapped and its initialisers are used in place, so weights stay file-backed. Arena and
    memory pattern are off: with one text a run the allocator's own free lists are enough, and nothing is kept at the
    size of the largest text ever seen. One thread a run, no spinning: parallelism is one text per worker thread.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if model.suffix == ".ort":
        options.add_session_config_entry("session.load_model_format", "ORT")
        options.add_session_config_entry("session.use_memory_mapped_ort_model", "1")
        options.add_session_config_entry("session.use_ort_model_bytes_for_initializers", "1")
    return ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def onnxruntime_version() -> str:
    return str(ort.__version__)
