"""`python -m runtime`: settings from the environment → a server."""

import argparse
import logging
import sys

from runtime.allocator import one_heap
from runtime.settings import Settings, SettingsError, settings_table


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m runtime",
        description="Serve embeddings, user vectors and rankings over HTTP. Every setting comes from the environment:",
        epilog=settings_table(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args()
    try:
        settings = Settings.from_environment()
    except SettingsError as error:
        return _refuse(error)
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stdout
    )
    one_heap()
    from runtime.server import StartError, serve  # after the settings, so that a bad one is told at once

    try:
        serve(settings)
    except StartError as error:
        return _refuse(error)
    return 0


def _refuse(error: Exception) -> int:
    print(f"vows-edge cannot start: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
