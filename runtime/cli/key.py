"""`vows-edge key`: an API key and its entry for VOWS_API_KEYS."""

import argparse
import sys
from typing import Any

from runtime.http.api_keys import SCOPES, entry, make_key


def add_command(commands: Any) -> None:
    parser = commands.add_parser(
        "key",
        help="make an API key and its entry for VOWS_API_KEYS",
        description="Make an API key. The key goes to the client, the entry into VOWS_API_KEYS, beside those that are "
        "there, separated by commas; nothing is stored. To change a client's key, keep the old entry until the client "
        "has the new key, and use one name for both.",
    )
    parser.add_argument("--name", default="client", help="who gets it, for logs and metrics (default: %(default)s)")
    parser.add_argument(
        "--scopes",
        default="read+write",
        choices=SCOPES,
        help="metrics: /metrics alone; read: embed, rank, look up; write: store and delete; admin: all, with "
        "experiments and models (default: %(default)s)",
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    key = make_key()
    try:
        made = entry(options.name, options.scopes, key)
    except ValueError as error:
        print(f"no key was made: {error}", file=sys.stderr)
        return 1
    print(f"key    {key}\nentry  {made}")
    return 0
