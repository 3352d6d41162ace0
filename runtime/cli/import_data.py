"""`vows-edge import`: catalogue, interactions, experiments and preferences into a server, from files or another one."""

import argparse
import sys
from pathlib import Path
from typing import Any


def add_command(commands: Any) -> None:
    parser = commands.add_parser(
        "import",
        help="copy catalogue, interactions, experiments and preferences into a server, from files or another server",
        description="Copy into a running server, over its HTTP API. Files hold one JSON object a line, as the API "
        "takes it. An import that broke off can be run again: nothing is stored twice. Exit status 1: some were "
        "rejected. A server lists neither preferences nor hidden items, so these come from files only. Experiments "
        "need a key of the scope admin; their latencies and errors are not copied.",
    )
    parser.add_argument("--from", dest="source", metavar="URL", help="copy the catalogue and the log of this server")
    parser.add_argument("--catalogue", type=Path, metavar="FILE", help="items, as for POST /content/batch")
    parser.add_argument(
        "--events", type=Path, metavar="FILE", help="events and experiments, as GET /events/export gives them"
    )
    parser.add_argument("--preferences", type=Path, metavar="FILE", help="lines of user_id and preferences")
    parser.add_argument("--to", metavar="URL", default="http://127.0.0.1:8080", help="default: %(default)s")
    parser.add_argument("--key", default="", help="API key of --to")
    parser.add_argument("--from-key", default="", help="API key of --from")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from runtime.transfer import Outcome, Remote, send_items, send_log, send_preferences
    from runtime.transfer_files import Export, TransferError, records_of

    rejected = 0

    def report(what: str, outcome: Outcome) -> None:
        nonlocal rejected
        rejected += outcome.counts["rejected"]
        print(f"{what}: " + (", ".join(f"{count} {status}" for status, count in sorted(outcome.counts.items())) or "0"))
        for line in outcome.rejections:
            print(f"  rejected {line}", file=sys.stderr)

    if not (options.source or options.catalogue or options.events or options.preferences):
        print("vows-edge import: say what: --from, --catalogue, --events or --preferences", file=sys.stderr)
        return 2
    try:
        target = Remote(options.to, options.key)
        if options.source:
            source = Remote(options.source, options.from_key)
            report("catalogue", send_items(target, source.items(), _progress))
            for what, outcome in send_log(target, source, _progress).items():
                report(what, outcome)
        if options.catalogue:
            report("catalogue", send_items(target, records_of(options.catalogue), _progress))
        if options.events:
            for what, outcome in send_log(target, Export(options.events), _progress).items():
                report(what, outcome)
        if options.preferences:
            report("preferences", send_preferences(target, records_of(options.preferences), _progress))
    except (OSError, TransferError) as error:
        print(f"vows-edge import: {error}", file=sys.stderr)
        return 1
    return 1 if rejected else 0


def _progress(done: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} sent", end="\r", file=sys.stderr)
