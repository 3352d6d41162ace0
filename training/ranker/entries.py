"""What `evaluate ranker` and `evaluate actions` share: their options, and the sets, splits and worlds they compare."""

import argparse
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from training.data import public
from training.data.command import add_sources
from training.data.events import Dataset
from training.data.files import DataError
from training.simulator.parameters import Parameters
from training.simulator.world import simulate

SIMULATED = "simulated"
ORDER_STRENGTHS = (0.0, 1.0)


class Entry(NamedTuple):
    """One entry of a results file: a public set and its split, or simulated worlds of one order strength, which are
    split by time."""

    key: str
    name: str
    protocol: str
    order_strength: float | None = None


def add_options(parser: argparse.ArgumentParser, *, results: str, worlds: Sequence[int]) -> None:
    """results: default file. worlds: default seeds."""
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"{SIMULATED}, {', '.join(public.NAMES)}")
    parser.add_argument("--protocol", nargs="+", choices=("time", "last"), default=["time", "last"])
    parser.add_argument("--worlds", type=int, nargs="+", default=list(worlds), metavar="SEED")
    parser.add_argument("--order-strengths", type=float, nargs="+", default=list(ORDER_STRENGTHS), metavar="ω")
    parser.add_argument("--world-users", type=int, default=Parameters().users, help="default: %(default)s")
    parser.add_argument("--sample-users", type=int, metavar="N", help="of a real set, evenly spaced (default: all)")
    parser.add_argument("--again", action="store_true", help="replace entries that are there")
    parser.add_argument("--results", type=Path, default=Path(results), help="default: %(default)s")
    parser.add_argument(
        "--cache", type=Path, default=Path("build/predictions"),
        help="keeps predictions and trained weights (default: %(default)s)",
    )  # fmt: skip
    add_sources(parser)


def pending(options: argparse.Namespace, keys: Callable[[], Collection[str]]) -> Iterator[Entry]:
    """What is to be compared: what was named, or all there is, without what is in the results file.

    keys: of the results file, as it is when called. Raises DataError for an unknown set, and for one that is named and
    not installed.
    """
    if unknown := set(options.sets) - {SIMULATED, *public.NAMES}:
        names = f"{SIMULATED}, {', '.join(public.NAMES)}"
        raise DataError(f"no set is called {', '.join(sorted(unknown))}; there are {names}")
    for name in options.sets or (*public.NAMES, SIMULATED):
        if name == SIMULATED:
            found = [Entry(f"{name}, order strength {s:g}", name, "time", s) for s in options.order_strengths]
        else:
            found = [Entry(f"{name}, {protocol}", name, protocol) for protocol in options.protocol]
        new = [one for one in found if options.again or one.key not in keys()]
        for one in found:
            if one not in new:
                print(f"{one.key}: already in {options.results}; --again replaces it", file=sys.stderr)
        if new and name != SIMULATED and not options.sets:
            try:
                public.load(name, options.data_dir)
            except DataError as error:
                print(f"{name}: not available. {error}", file=sys.stderr)
                continue
        yield from new


def real_set(options: argparse.Namespace, entry: Entry) -> Dataset:
    """The public set of an entry, or the sample of its users that was asked for."""
    dataset = public.load(entry.name, options.data_dir)
    return dataset.some_users(options.sample_users) if options.sample_users else dataset


def simulated_worlds(options: argparse.Namespace, entry: Entry) -> Iterator[tuple[str, Dataset]]:
    """The simulated worlds of an entry, each with its title."""
    assert entry.order_strength is not None
    parameters = Parameters(order_strength=entry.order_strength, users=options.world_users)
    for seed in options.worlds:
        yield f"{entry.key}, world {seed}", simulate(parameters, seed).dataset
