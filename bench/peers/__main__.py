"""`python -m bench.peers`: set the engines up; `python -m bench peers` measures them afterwards."""

import argparse
import sys

from bench.peers.engines import ENGINES, FOLDER, default_places, engine_named
from bench.peers.install import SetUpError, make_environment, prepare, set_up


def main(arguments: list[str] | None = None) -> int:
    """Set up the named engines, or all; 1 when one could not be."""
    names = [engine.name for engine in ENGINES]
    parser = argparse.ArgumentParser(
        prog="python -m bench.peers",
        description="Install and convert what `python -m bench peers` compares: an environment and a model each, "
        "several gigabytes in all, under VOWS_PEERS_DIR (default ~/.cache/vows-edge/peers). What is there stays.",
        epilog="engines: " + ", ".join(names),
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="engines to set up (default: all)")
    chosen = parser.parse_args(arguments).names or names
    unknown = sorted(set(chosen) - set(names))
    if unknown:
        parser.error(f"no engine called {', '.join(unknown)}; there are: {', '.join(names)}")
    places = default_places()

    def progress(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    try:
        make_environment(FOLDER / "converters.txt", places, (), progress)
        prepare(places, progress)
    except SetUpError as error:
        progress(f"nothing can be set up: {error}")
        return 1
    failures = 0
    for name in chosen:
        failed = set_up(engine_named(name), places, progress)
        failures += failed is not None
        progress(f"{name}: {'ready' if failed is None else failed}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
