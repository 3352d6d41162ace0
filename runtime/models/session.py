"""The one place where onnxruntime sessions are made and their options set."""

import os
from functools import cache
from pathlib import Path

# Read when the library loads; without it the Linux wheels may send telemetry, and this process makes no outbound call.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime as ort

ort.set_default_logger_severity(3)


def create_session(
    model: Path, *, arena: bool = True, shared_arena: bool = False, prepacking: bool = True, optimised: bool = False
) -> ort.InferenceSession:
    """Open a `.onnx` or `.ort` model for one text a run on the calling thread.

    An `.ort` file is memory-mapped and its initialisers are used in place, so weights stay file-backed. One thread a
    run, no spinning: parallelism is one text per worker thread.

    The arena keeps the scratch memory of a run for the next one. With batches that is how a server swells to the
    largest batch it ever saw; with one text a run it holds one longest text per worker, costs less than malloc's own
    leftovers, keeps them out of the heap, and saves the page faults of taking them anew: see
    docs/decisions/002-session-options.md, where `arena` and `prepacking` are measured both ways. A shared one is for
    sessions that run one after the other: together they keep what the largest of their runs took.

    optimised: whether the graph of an `.onnx` file is to be run as it is; that of an `.ort` file always is.
    """
    options = _one_thread()
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.enable_cpu_mem_arena = arena
    options.enable_mem_pattern = False  # plans memory per input shape and keeps every plan; lengths are many here
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.disable_prepacking", "0" if prepacking else "1")
    if shared_arena:
        _register_shared_arena()
        options.add_session_config_entry("session.use_env_allocators", "1")
    if model.suffix == ".ort":
        _map(options)
    elif optimised:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def save_packed(model: Path, to: Path, weights: str) -> None:
    """Write an `.ort` model as ONNX, its weights in the file `weights` beside it, once as they are and once packed for
    this CPU. Raises what onnxruntime raises."""
    options = _one_thread()
    _map(options)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.optimized_model_filepath = str(to)
    for name, value in {
        "session.save_model_format": "ONNX",
        "session.optimized_model_external_initializers_file_name": weights,
        "session.optimized_model_external_initializers_min_size_in_bytes": "1024",
        "session.save_external_prepacked_constant_initializers": "1",
    }.items():
        options.add_session_config_entry(name, value)
    ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def _one_thread() -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return options


def _map(options: ort.SessionOptions) -> None:
    """Open an `.ort` file by mapping it."""
    options.add_session_config_entry("session.load_model_format", "ORT")
    options.add_session_config_entry("session.use_memory_mapped_ort_model", "1")
    options.add_session_config_entry("session.use_ort_model_bytes_for_initializers", "1")


@cache
def _register_shared_arena() -> None:
    """Once a process; sessions that do not ask for it have arenas of their own."""
    memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    ort.create_and_register_allocator(memory, ort.OrtArenaCfg(0, 0, -1, -1))  # no limit; grows by powers of two


def onnxruntime_version() -> str:
    """Of the library that runs the models."""
    return str(ort.__version__)
