"""`vows-edge replay`: its options."""

import argparse

from training.data.command import add_sources

DESCRIPTION = """\
Estimate what another ranking would have got, from rankings that an experiment with exploration drew and the
interactions that followed them. Nothing is shown to anybody. By importance weights (IPS), self-normalised, and doubly
robust, each with an interval and with its difference to what was shown.

  vows-edge replay --events data --model hybrid            a server's data folder, or a copy of its vows.db
  vows-edge replay --events data --model models/rankers/mine
  curl "$SERVER/events/export?exposures_after=0" > log.ndjson
  vows-edge replay --events log.ndjson --items items.ndjson --model simple     items: content_id, text"""


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "replay",
        help="what another ranking would have got from logged exposures",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_sources(parser)
    parser.add_argument(
        "--model", required=True, metavar="NAME",
        help="simple, hybrid (as it serves untrained), or the folder of a ranker bundle or a checkpoint; a bundle with "
        "the weights that would be served beside the sequence model that is installed in models/",
    )  # fmt: skip
    parser.add_argument(
        "--positions", type=_positive, default=3, help="of a ranking that are judged: each one more costs precision "
        "(default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--metric", choices=("engaged", "weighted"), default="engaged", help="default: %(default)s")
    parser.add_argument(
        "--window-s",
        type=float,
        default=604_800,
        help="interactions count for a ranking until then (default: 7 days)",
    )
    parser.add_argument("--clip", type=float, metavar="WEIGHT", help="largest weight of a ranking (default: none)")
    parser.add_argument(
        "--alpha", type=float, default=0.05, help="1 − coverage of the intervals (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="the result as JSON")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from training.off_policy.command import run  # imports torch

    return run(options)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not 1 or more")
    return number
