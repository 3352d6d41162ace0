"""`python -m training data`: a card per data set."""

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from runtime.personalization.sequence_features import DAYS_TO_EVENT_KEY
from training.data import public
from training.data.event_log import read_event_log
from training.data.events import ACTIONS, SKIP, Dataset
from training.data.files import DataError, read_files

# Engaged events of a log. With fewer, weights follow from chance: the prior is better. Measured on parts of Deskdrop's.
FEWEST_EVENTS = 2_000

DATA_VARIABLE = "VOWS_TRAINING_DATA"
DESCRIPTION = f"""\
Print a card of each data set: size, span, actions, repeats, ties, licence, mapping and limits. Without names, every
public set that is installed. Sets read from folders are looked for in --data-dir or ${DATA_VARIABLE}."""


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "data",
        help="print a card per data set",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sets", nargs="*", metavar="SET", help=", ".join(public.NAMES))
    add_sources(parser)
    parser.set_defaults(run=_run)


def add_sources(parser: argparse.ArgumentParser) -> None:
    """Add the options for the location of data, the same for every command."""
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=os.environ.get(DATA_VARIABLE),
        help=f"parent folder of the sets that no package contains (default: ${DATA_VARIABLE})",
    )
    parser.add_argument("--events", type=Path, help="a server's data folder, its vows.db, or a .parquet/.ndjson file")
    parser.add_argument("--items", type=Path, help="texts of the items of a .parquet/.ndjson file of events")
    parser.add_argument(
        "--days-to-event-key", metavar="NAME",
        help="where an interaction's context says how many days are left until the user's date; a server that serves "
        f"the model reads it there too (default: {DAYS_TO_EVENT_KEY}, or that of the checkpoint that is fine-tuned)",
    )  # fmt: skip


def load_own(options: argparse.Namespace) -> Dataset | None:
    """The data set that --events names, or None without it. Raises DataError for --days-to-event-key without it."""
    key = options.days_to_event_key or DAYS_TO_EVENT_KEY
    if options.events is None:
        if options.days_to_event_key:
            raise DataError(f"--days-to-event-key {key} names a part of the context of --events: give these, too")
        return None
    if options.events.is_dir() or options.events.suffix == ".db":
        return read_event_log(options.events, days_to_event_key=key)
    return replace(read_files(options.events, options.items), days_to_event_key=key)


def _run(options: argparse.Namespace) -> int:
    if (own := load_own(options)) is not None:
        print(card(own))
    for name in options.sets or ([] if own else public.NAMES):
        try:
            dataset = public.load(name, options.data_dir)
        except DataError as error:
            if options.sets:
                raise
            print(f"{name}: not available. {error}", file=sys.stderr)
            continue
        print(card(dataset))
    return 0


def card(dataset: Dataset) -> str:
    """A summary of a data set in a dozen lines."""
    events = dataset.events
    lines = [f"# {dataset.name}"]
    lengths = np.diff(dataset.starts)
    items = len(dataset.catalogue)
    described = sum(1 for text in dataset.catalogue.texts if text)
    lines.append(f"{len(events):,} events, {len(dataset.users):,} users, {items:,} items ({described:,} with text)")
    if len(events):
        shares = np.bincount(events.action, minlength=len(ACTIONS)) / len(events)
        lines.append(", ".join(f"{action} {share:.1%}" for action, share in zip(ACTIONS, shares, strict=True)))
        lines.append("events per user: " + ", ".join(f"p{q} {np.percentile(lengths, q):.0f}" for q in (5, 50, 95)))
        first, last = (str(np.datetime64(int(t), "us"))[:10] for t in (events.time_us.min(), events.time_us.max()))
        same_user = events.user[1:] == events.user[:-1]
        ties = (same_user & (events.time_us[1:] == events.time_us[:-1])).sum() / max(int(same_user.sum()), 1)
        engaged = events.action != SKIP
        pairs = events.user[engaged].astype(np.int64) * items + events.item[engaged]
        repeats = 1 - len(np.unique(pairs)) / max(len(pairs), 1)
        lines.append(
            f"{first} to {last}; {repeats:.1%} of engaged events are repeats; {ties:.1%} of consecutive events "
            "have the same time"
        )
    lines += [f"licence: {dataset.licence}", f"mapping: {dataset.mapping}"]
    lines += [f"limit: {limit}" for limit in dataset.limits]
    return "\n".join(lines) + "\n"
