"""`python -m training simulate`: what a world is like, and what can be known of it."""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from training.data.events import ACTIONS
from training.data.files import write_parquet
from training.simulator.filter import predict, taste_cosine
from training.simulator.parameters import Parameters
from training.simulator.text_share import text_share
from training.simulator.world import simulate

DESCRIPTION = """\
Simulate one world and print its figures: events and actions, the share of utility that the texts tell, the accuracy
that the exact filter attains on the later half of some users' events, and how well it knows their taste. --out writes
the events as Parquet."""


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "simulate",
        help="play out a simulated world and print its card",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    defaults = Parameters()
    parser.add_argument("--seed", type=int, default=0, help="which world (default: %(default)s)")
    parser.add_argument("--omega", type=float, default=defaults.omega, help="how much order matters, 0 to 1")
    parser.add_argument("--users", type=int, default=defaults.users, help="default: %(default)s")
    parser.add_argument("--items", type=int, default=defaults.items, help="default: %(default)s")
    parser.add_argument(
        "--bound-users", type=int, default=50, help="users for the filter, 0 none (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, help="write events.parquet and items.parquet to this folder")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    world = simulate(replace(Parameters(), omega=options.omega, users=options.users, items=options.items), options.seed)
    events = world.dataset.events
    shares = np.bincount(events.action, minlength=len(ACTIONS)) / len(events)
    lengths = np.diff(world.dataset.starts)
    print(f"{world.dataset.name}: {len(events):,} events, {options.users:,} users, {len(world.items):,} items")
    print("  " + ", ".join(f"{action} {share:.1%}" for action, share in zip(ACTIONS, shares, strict=True)))
    print("  events a user: " + ", ".join(f"p{q} {np.percentile(lengths, q):.0f}" for q in (5, 50, 95)))
    print(f"  texts explain {text_share(world):.1%} of the variance of lasting utility (out of fold, linear)")
    if options.bound_users:
        predictions = predict(world, np.arange(min(options.bound_users, options.users)))
        rows = np.array([one.row for one in predictions])
        predicted = np.stack([one.actions for one in predictions])
        later = rows - world.dataset.starts[events.user[rows]] >= lengths[events.user[rows]] // 2
        right = predicted.argmax(axis=1) == events.action[rows]
        print(
            f"  attainable accuracy {right[later].mean():.1%} on {later.sum():,} later events, "
            f"{right.mean():.1%} on all"
        )
        print(f"  taste as known before the last event: cosine {taste_cosine(world, predictions):.3f} to the true")
    if options.out:
        write_parquet(world.dataset, options.out)
        print(f"  written to {options.out}")
    return 0
