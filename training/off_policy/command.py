"""`vows-edge replay`: what another ranking would have got from logged exposures.

Its options are in `training.cli.replay`.
"""

import argparse

import msgspec

from training.data.command import load_own
from training.errors import TrainingError
from training.off_policy.replay import as_text, replay
from training.off_policy.targets import target


def run(options: argparse.Namespace) -> int:
    """Returns the exit status. Raises TrainingError for an option out of range, or a log without exposures."""
    if not 0 < options.alpha < 1:
        raise TrainingError(f"--alpha is {options.alpha:g}, it is between 0 and 1")
    if options.clip is not None and not options.clip >= 1:
        raise TrainingError(
            f"--clip is {options.clip:g}: a weight of 1 is a ranking like the logged one, give 1 or more"
        )
    data = load_own(options)
    if data is None:
        raise TrainingError("name a log with --events: a data folder, its vows.db, or an export with exposures_after=0")
    found = replay(
        data, target(options.model), positions=options.positions, metric=options.metric,
        window_us=round(options.window_s * 1e6), clip=options.clip, alpha=options.alpha, seed=options.seed,
    )  # fmt: skip
    print(msgspec.json.format(msgspec.json.encode(found)).decode() if options.json else as_text(found))
    return 0
