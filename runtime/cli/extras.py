"""Sub-commands that live outside the runtime and need more packages than it: which, and a line that says so.

They are named by strings and imported only to run: the runtime never depends on them.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ExtraCommand:
    """`module` has `main(arguments, prog) -> exit status`; `arguments` go before those that were typed. `needs` are
    the modules of the extra that it imports at some point: all are looked for before hours of work begin."""

    help: str
    module: str
    arguments: tuple[str, ...] = ()
    extra: str = ""
    needs: tuple[str, ...] = ()


COMMANDS = {
    "export": ExtraCommand(
        "make model bundles from published weights or a checkpoint",
        "export.__main__",
        extra="export",
        needs=("flatbuffers", "onnx", "optimum", "safetensors", "torch", "transformers"),
    ),
    "train": ExtraCommand(
        "train the sequence model on a log, a data set or simulated users; train ranker: the hybrid ranker of a log",
        "training.__main__",
        ("train",),
        extra="train",
        needs=("pyarrow", "safetensors", "scipy", "sklearn", "threadpoolctl", "torch", "tqdm"),
    ),
    "evaluate": ExtraCommand(
        "judge on your own log what ranks better, or compare recommenders under one protocol",
        "training.__main__",
        ("evaluate",),
        extra="train",
        needs=(
            "implicit",
            "matplotlib",
            "pyarrow",
            "safetensors",
            "scipy",
            "sklearn",
            "threadpoolctl",
            "torch",
            "tqdm",
        ),
    ),
    "replay": ExtraCommand(
        "estimate what another ranking would have got from the rankings that an experiment showed",
        "training.__main__",
        ("replay",),
        extra="train",
        needs=("pyarrow", "safetensors", "scipy", "threadpoolctl", "torch", "tqdm"),
    ),
    "demo": ExtraCommand("load an example catalogue into a running server and play users", "examples.wedding.demo"),
}


def run(name: str, arguments: Sequence[str]) -> int:
    """Run an extra command; returns its exit status, or 2 after one line where a package that it needs is missing."""
    command = COMMANDS[name]
    if any(importlib.util.find_spec(module) is None for module in command.needs):
        return _missing(f"vows-edge {name}", command.extra)
    try:
        main = importlib.import_module(command.module).main
        prog = "vows-edge" if command.arguments else f"vows-edge {name}"
        status: int = main([*command.arguments, *arguments], prog)
    except ModuleNotFoundError as error:
        if not command.extra:
            raise
        print(error, file=sys.stderr)
        return _missing(f"vows-edge {name}", command.extra)
    return status


def run_module(main: Callable[[], int], name: str, *, extra: str) -> int:
    """`python -m NAME`: the exit status of `main`, or 2 after one line where a package of its extra is missing."""
    try:
        return main()
    except ModuleNotFoundError as error:
        return _missing(f"python -m {name}", extra, f" ({error})")


def _missing(program: str, extra: str, found: str = "") -> int:
    print(f'{program} needs: pip install "vows-edge[{extra}]"{found}', file=sys.stderr)
    return 2
