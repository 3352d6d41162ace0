"""The time of a run by operator, from onnxruntime's profiler."""

import json
import statistics
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import onnxruntime

from export.encoder import INPUT

_RUNS = 30


def operator_times(model_file: Path, tokens: int) -> list[tuple[str, int, float]]:
    """(operator, nodes, milliseconds a run), the slowest first; of each node the median of its runs.

    Profiling adds its own cost to every node: use the shares, not the sum.
    """
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()  # as runtime.models.session sets them, with the profile on
        options.intra_op_num_threads = 1
        options.enable_cpu_mem_arena = False
        options.enable_mem_pattern = False
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(str(model_file), options, providers=["CPUExecutionProvider"])
        ids = np.arange(1, tokens + 1, dtype=np.int32)[None]
        for _ in range(_RUNS):
            session.run(None, {INPUT: ids})
        events = json.loads(Path(session.end_profiling()).read_text())
    taken: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            taken[event["args"]["op_name"], event["args"]["node_index"]].append(event["dur"] / 1e3)
    nodes: dict[str, list[float]] = defaultdict(list)
    for (operator, _), durations in taken.items():
        nodes[operator].append(statistics.median(durations))
    return sorted(((name, len(found), sum(found)) for name, found in nodes.items()), key=lambda row: -row[2])
