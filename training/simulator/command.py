"""`python -m training simulate`: the figures of a simulated world."""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from training.data.events import ACTIONS
from training.data.files import write_parquet
from training.simulator.oracle import predict, taste_cosine
from training.simulator.parameters import Parameters
from training.simulator.text_share import text_share
from training.simulator.world import simulate

DESCRIPTION = """\
Simulate one world and print its figures: events and actions, the share of utility that texts explain, the accuracy of
the oracle (the Bayes-optimal filter) on the later half of some users' events, and how well it infers their taste. --out
writes the events as Parquet."""


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "simulate",
        help="simulate a world and print its figures",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    defaults = Parameters()
    parser.add_argument("--seed", type=int, default=0, help="which world (default: %(default)s)")
    parser.add_argument(
        "--order-strength", type=float, default=defaults.order_strength, help="ω, how much order matters, 0 to 1"
    )
    parser.add_argument("--users", type=int, default=defaults.users, help="default: %(default)s")
    parser.add_argument("--items", type=int, default=defaults.items, help="default: %(default)s")
    parser.add_argument(
        "--oracle-users", type=int, default=50, help="users for the oracle, 0 for none (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, help="write events.parquet and items.parquet to this folder")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    world = simulate(
        replace(Parameters(), order_strength=options.order_strength, users=options.users, items=options.items),
        options.seed,
    )
    events = world.dataset.events
    shares = np.bincount(events.action, minlength=len(ACTIONS)) / len(events)
    lengths = np.diff(world.dataset.starts)
    print(f"{world.dataset.name}: {len(events):,} events, {options.users:,} users, {len(world.items):,} items")
    print("  " + ", ".join(f"{action} {share:.1%}" for action, share in zip(ACTIONS, shares, strict=True)))
    print("  events per user: " + ", ".join(f"p{q} {np.percentile(lengths, q):.0f}" for q in (5, 50, 95)))
    print(f"  texts explain {text_share(world):.1%} of the variance of lasting utility (out of fold, linear)")
    if options.oracle_users:
        predictions = predict(world, np.arange(min(options.oracle_users, options.users)))
        rows = np.array([one.row for one in predictions])
        predicted = np.stack([one.actions for one in predictions])
        later = rows - world.dataset.starts[events.user[rows]] >= lengths[events.user[rows]] // 2
        right = predicted.argmax(axis=1) == events.action[rows]
        print(f"  oracle accuracy {right[later].mean():.1%} on {later.sum():,} later events, {right.mean():.1%} on all")
        print(f"  taste inferred before the last event: cosine {taste_cosine(world, predictions):.3f} to the true one")
    if options.out:
        write_parquet(world.dataset, options.out)
        print(f"  written to {options.out}")
    return 0
