"""`vows-edge evaluate actions`: the served model of the next action against its parts and baselines, on every set."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from runtime.personalization.next_action import own_rates
from runtime.personalization.ranking_features import HISTORY_EVENTS
from training.checkpoint import Checkpoint
from training.data import public
from training.data.command import add_sources
from training.data.events import Dataset, Histories
from training.data.files import DataError
from training.data.split import Split, by_time, leave_last_out
from training.evaluation import metrics
from training.evaluation.baselines import Logistic, Majority
from training.evaluation.bootstrap import interval_over_worlds
from training.evaluation.protocol import Scores
from training.evaluation.queries import EvaluationQueries, Queries, QueryBudget, flat
from training.evaluation.results import Figure
from training.evaluation.sequence import SequenceRecommender
from training.ranker.actions import ActionModel
from training.recipes import RECIPES, fine_tuning
from training.simulator.parameters import Parameters
from training.simulator.world import simulate

NAME = "evaluate actions"  # two words of the command line, see `training.__main__`
FORMAT = 1
SIMULATED = "simulated"
HELD_OUT_SEEDS = (3001, 3002)
ORDER_STRENGTHS = (0.0, 1.0)
RATES, SEQUENCE, ALONE, STACKED = "own rates", "sequence", "regression", "stack"
PARTS = (SEQUENCE, ALONE)  # of the stack

DESCRIPTION = f"""\
Compare what the server answers for the next action with its parts and with baselines: accuracy and log-loss on the last
fifth of each set, or on each user's last event, with intervals over users, and worlds. What is served without a ranker
is among them. The sequence model has the recipe that is named like the set; on simulated worlds it is the reference,
fine-tuned to the past of each world. Each set and split is an entry of the results file; one that is there already is
kept unless it is named with --again.

  vows-edge evaluate actions deskdrop ml-100k --data-dir data
  vows-edge evaluate actions simulated --again

Simulated worlds: seeds {HELD_OUT_SEEDS}, order strengths {ORDER_STRENGTHS}."""


class Predicted(msgspec.Struct, frozen=True, kw_only=True):
    """One model. ahead: its log-loss minus the stack's on the same events: above 0 the stack is better."""

    name: str
    accuracy: Figure
    log_loss: Figure
    calibration_error: float
    ahead: Figure | None = None
    choice: dict[str, Any] = {}


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """Every model on one data set and split."""

    key: str
    name: str
    protocol: str
    order_strength: float | None = None
    seeds: list[int] = []
    users: int
    events: int
    rows: list[Predicted]

    def row(self, name: str) -> Predicted:
        """Raises KeyError for a model that was not compared."""
        return {row.name: row for row in self.rows}[name]


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """action_results.json."""

    format: int = FORMAT
    sets: list[Compared] = []

    def with_set(self, found: Compared) -> "Results":
        """With an entry added, or replaced where its key exists."""
        return Results(sets=sorted([*(s for s in self.sets if s.key != found.key), found], key=lambda s: s.key))


class OwnRates:
    """What is served where nothing was trained: how often the user did each action."""

    name = RATES

    def fit(self, train: Dataset, validation: Dataset) -> None:
        """Nothing is fitted."""

    def action_probabilities(
        self, histories: Histories, now_us: NDArray[np.int64], device: NDArray[np.int8], items: NDArray[np.int32]
    ) -> Scores:
        owner, rows, _ = flat(histories, HISTORY_EVENTS)
        action = histories.events.action[rows]
        return np.stack([own_rates(action[owner == n]) for n in range(len(histories))]).astype(np.float32)


# The queries of one split, each model's probabilities by its name, and what it chose
World = tuple[Queries, dict[str, Scores], dict[str, dict[str, Any]]]


def predict(split: Split, sequence: SequenceRecommender, title: str, budget: QueryBudget) -> World:
    """Fit every model and predict the actions of the test part."""
    queries = EvaluationQueries.of(split, budget).actions
    context = (queries.histories, queries.now_us, queries.device, queries.item)
    _say(title, "sequence model")
    sequence.fit(split.train, split.validation)
    stacked = ActionModel(sequence)
    _say(title, "regression and stack")
    stacked.fit(split.train, split.validation)
    assert stacked.model is not None
    found = {SEQUENCE: sequence.action_probabilities(*context), STACKED: stacked.action_probabilities(*context)}
    stacked.model = replace(stacked.model, stacked=None)
    found[ALONE] = stacked.action_probabilities(*context)
    for baseline in (OwnRates(), Majority(), Logistic()):
        _say(title, baseline.name)
        baseline.fit(split.train, split.validation)
        found[baseline.name] = baseline.action_probabilities(*context)
    return queries, found, {STACKED: stacked.choice, SEQUENCE: sequence.choice}


def compare(key: str, protocol: str, name: str, worlds: Sequence[World]) -> Compared:
    """The figures of what was predicted, over all `worlds`."""
    rows = []
    actions = np.concatenate([queries.action for queries, _, _ in worlds])
    for model in worlds[0][1]:
        right, losses, ahead = [], [], []
        for queries, found, _ in worlds:
            loss = metrics.log_losses(found[model], queries.action)
            right.append((found[model].argmax(axis=1) == queries.action, queries.user))
            losses.append((loss, queries.user))
            ahead.append((loss - metrics.log_losses(found[STACKED], queries.action), queries.user))
        error = metrics.calibration(np.concatenate([found[model] for _, found, _ in worlds]), actions).error
        rows.append(
            Predicted(
                name=model,
                accuracy=Figure.of(interval_over_worlds([(values.astype(np.float64), user) for values, user in right])),
                log_loss=Figure.of(interval_over_worlds(losses)),
                calibration_error=round(error, 4),
                ahead=None if model == STACKED else Figure.of(interval_over_worlds(ahead)),
                choice=worlds[0][2].get(model, {}),
            )
        )
    return Compared(
        key=key, name=name, protocol=protocol, events=len(actions), rows=rows,
        users=sum(len(np.unique(queries.user)) for queries, _, _ in worlds),
    )  # fmt: skip


def as_markdown(found: Results) -> str:
    """One table: accuracy and log-loss of what is compared, a row a set and split."""
    names = (STACKED, ALONE, SEQUENCE, Logistic.name, RATES, Majority.name)
    lines = [f"| set | {' | '.join(names)} | stack against its best part |", "|---" * (len(names) + 2) + "|"]
    for one in found.sets:
        cells = [f"{row.accuracy.value:.3f} / {row.log_loss.value:.3f}" for row in map(one.row, names)]
        best = min(map(one.row, PARTS), key=lambda row: row.log_loss.value)
        assert best.ahead is not None
        ahead = f"{best.ahead.value:+.4f} [{best.ahead.low:+.4f}, {best.ahead.high:+.4f}]"
        lines.append(f"| {one.key} | {' | '.join(cells)} | {best.name}: {ahead} |")
    return "\n".join(lines) + "\n"


def read(path: Path) -> Results:
    """Empty where there is no file. Raises DataError for one of another format."""
    if not path.exists():
        return Results()
    found = msgspec.json.decode(path.read_bytes(), type=Results)
    if found.format != FORMAT:
        raise DataError(f"{path} has format {found.format}, this version reads {FORMAT}; compare again")
    return found


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `evaluate actions`."""
    parser = commands.add_parser(
        NAME,
        help="compare the model of the next action with its parts and baselines",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"{SIMULATED}, {', '.join(public.NAMES)}")
    parser.add_argument("--protocol", nargs="+", choices=("time", "last"), default=["time", "last"])
    parser.add_argument("--worlds", type=int, nargs="+", default=list(HELD_OUT_SEEDS), metavar="SEED")
    parser.add_argument("--order-strengths", type=float, nargs="+", default=list(ORDER_STRENGTHS), metavar="ω")
    parser.add_argument("--world-users", type=int, default=Parameters().users, help="default: %(default)s")
    parser.add_argument("--events-judged", type=int, default=QueryBudget().actions, help="default: %(default)s")
    parser.add_argument("--recipe", choices=sorted(RECIPES), help="of the sequence model (default: named like the set)")
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/reference"), help="default: %(default)s")
    parser.add_argument("--again", action="store_true", help="replace entries that are there")
    parser.add_argument(
        "--results", type=Path, default=Path("training/action_results.json"), help="default: %(default)s"
    )
    parser.add_argument("--cache", type=Path, default=Path("build/predictions"), help="default: %(default)s")
    add_sources(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if unknown := set(options.sets) - {SIMULATED, *public.NAMES}:
        names = f"{SIMULATED}, {', '.join(public.NAMES)}"
        raise DataError(f"no set is called {', '.join(sorted(unknown))}; there are {names}")
    for name in options.sets or (*public.NAMES, SIMULATED):
        kinds = options.order_strengths if name == SIMULATED else options.protocol
        for kind in kinds:
            key = f"{name}, order strength {kind:g}" if name == SIMULATED else f"{name}, {kind}"
            if not options.again and any(one.key == key for one in read(options.results).sets):
                print(f"{key}: already in {options.results}; --again replaces it", file=sys.stderr)
                continue
            entry = _simulated(options, key, kind) if name == SIMULATED else _real(options, key, name, kind)
            found = read(options.results).with_set(entry)  # another process may have added one in the meantime
            options.results.parent.mkdir(parents=True, exist_ok=True)
            options.results.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    print(as_markdown(read(options.results)), end="")
    return 0


def _real(options: argparse.Namespace, key: str, name: str, protocol: str) -> Compared:
    data = public.load(name, options.data_dir)
    split = by_time(data) if protocol == "time" else leave_last_out(data)
    sequence = SequenceRecommender(RECIPES[options.recipe or name](), name=SEQUENCE, refit=True, keep=options.cache)
    return compare(key, protocol, name, [predict(split, sequence, key, QueryBudget(actions=options.events_judged))])


def _simulated(options: argparse.Namespace, key: str, strength: float) -> Compared:
    parameters = Parameters(order_strength=strength, users=options.world_users)
    start = Checkpoint.load(options.checkpoint)
    worlds = []
    for seed in options.worlds:
        sequence = SequenceRecommender(fine_tuning(start.recipe), start, name=SEQUENCE, refit=True, keep=options.cache)
        split = by_time(simulate(parameters, seed).dataset)
        worlds.append(predict(split, sequence, f"{key}, world {seed}", QueryBudget(actions=options.events_judged)))
    found = compare(key, "time", SIMULATED, worlds)
    return msgspec.structs.replace(found, order_strength=strength, seeds=list(options.worlds))


def _say(title: str, what: str) -> None:
    print(f"{title}: {what}", file=sys.stderr, flush=True)
