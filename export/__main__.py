"""`python -m export`: one subcommand per kind of bundle, and two that measure."""

import argparse
import sys
from collections.abc import Sequence

from export.errors import ExportError
from runtime.cli.extras import run_module
from runtime.models.bundle import BundleError

DESCRIPTION = """\
Turn published weights into a model bundle: a folder with the graph in the encodings the runtime maps into memory, the
tokenizer, recorded vectors for the start-up self-test, and a manifest with digests and measured quality.

A bundle is written only when it passes its quality gate; a miss is printed with its size, and the exit status is 1."""


def main(arguments: Sequence[str] | None = None, prog: str = "python -m export") -> int:
    """Run a subcommand; returns the exit status (0 done, 1 refused or impossible, 2 bad usage)."""
    parser = argparse.ArgumentParser(
        prog=prog, description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    # Imported here so that each command's options stand beside its code; torch loads only when a command runs.
    from export import cpu_check, minilm, recipe_comparison, sequence

    minilm.add_command(commands)
    sequence.add_command(commands)
    cpu_check.add_command(commands)
    recipe_comparison.add_command(commands)
    options = parser.parse_args(arguments)
    try:
        status: int = options.run(options)
    except (ExportError, BundleError) as error:
        print(f"export refused: {error}", file=sys.stderr)
        return 1
    return status


if __name__ == "__main__":
    sys.exit(run_module(main, "export", extra="export"))
