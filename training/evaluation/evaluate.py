"""One row of the results: a data set split, every model fitted on it, and their predictions summarised."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from training.data.events import Dataset
from training.data.split import Split, by_time, leave_last_out
from training.evaluation.baselines import action_baselines, ranking_baselines
from training.evaluation.prediction_cache import PredictionCache
from training.evaluation.predictions import predict_actions, predict_rankings
from training.evaluation.probe import probe_cosine
from training.evaluation.protocol import BuildsOn, HasUserVectors, PredictsActions, Recommender
from training.evaluation.queries import EvaluationQueries, QueryBudget
from training.evaluation.results import SetResult
from training.evaluation.summary import OraclePredictions, Run, Summary
from training.simulator.oracle import predict_user
from training.simulator.parameters import Parameters
from training.simulator.text_share import text_share
from training.simulator.world import World, simulate

# Makes a model for an order strength (as text, "real" for real data) and a seed.
Factory = Callable[[str, int], Recommender]

PROTOCOLS = {
    "time": "global time split 70/10/20, next engaged item over the whole catalogue",
    "last": "leave last out, next engaged item over the whole catalogue",
}


def real_set(
    dataset: Dataset,
    protocol: str,
    factories: Sequence[Factory],
    seeds: Sequence[int],
    budget: QueryBudget,
    *,
    with_baselines: bool = True,
    cache_folder: Path | None = None,
) -> SetResult:
    """Evaluate on a real data set. Models are fitted once per seed; baselines have no randomness and are fitted once,
    or their predictions of an earlier run are read from `cache_folder`. protocol: a key of PROTOCOLS."""
    split = by_time(dataset) if protocol == "time" else leave_last_out(dataset)
    queries = EvaluationQueries.of(split, budget)
    cache = PredictionCache(cache_folder, split, budget) if cache_folder else None
    fitted: dict[str, Recommender] = {}
    ranking, acting = (ranking_baselines(), action_baselines()) if with_baselines else ([], [])
    rankings, failed = predict_rankings(ranking, split, queries, dataset.name, fitted=fitted, cache=cache)
    actions, failed_acting = predict_actions(acting, split, queries, dataset.name, cache=cache)
    outcome = _Outcome(failed=failed | failed_acting)
    for seed in seeds if factories else []:
        models = [make("real", seed) for make in factories]
        run = outcome.add(split, queries, models, f"{dataset.name}, seed {seed}", f"seed {seed}", dict(fitted))
        # The baselines' predictions are the same for every seed: pairs stay pairs
        outcome.runs.append(Run(queries, {**rankings, **run.rankings}, {**actions, **run.actions}))
    outcome.runs = outcome.runs or [Run(queries, rankings, actions)]
    return _row(f"{dataset.name}, {protocol}", dataset.name, dataset, outcome, protocol, seeds, same_users=True)


def simulated_worlds(
    parameters: Parameters,
    seeds: Sequence[int],
    factories: Sequence[Factory],
    budget: QueryBudget,
    *,
    oracle_users: int,
    with_baselines: bool = True,
) -> SetResult:
    """Evaluate on simulated worlds of one order strength: every model is fitted on the past of each world and tested
    on its future. oracle_users: users per world for the Bayes-optimal filter, 0 for none."""
    outcome = _Outcome()
    shares, probes = [], []
    for seed in seeds:
        world = simulate(parameters, seed)
        split = by_time(world.dataset)
        queries = EvaluationQueries.of(split, budget)
        models: list[Recommender] = [make(f"{parameters.order_strength:g}", seed) for make in factories]
        everything = [*(ranking_baselines() if with_baselines else []), *models]
        acting = action_baselines() if with_baselines else []
        run = outcome.add(split, queries, everything, world.dataset.name, f"world {seed}", {}, acting)
        outcome.runs.append(Run(queries, run.rankings, run.actions, oracle_predictions(world, queries, oracle_users)))
        shares.append(text_share(world))
        taste = world.profiles.taste[world.users.profile]
        probed = [one for one in everything if isinstance(one, HasUserVectors) and one.name in run.rankings]
        probes.append({one.name: probe_cosine(one, queries, taste) for one in probed})
    name = f"simulated, order strength {parameters.order_strength:g}"
    row = _row(name, name, world.dataset, outcome, "time", seeds, same_users=False)
    return msgspec.structs.replace(
        row,
        order_strength=parameters.order_strength,
        text_share=round(float(np.mean(shares)), 3),
        probe_cosine={
            name: round(float(np.mean([probe[name] for probe in probes])), 4)
            for name in probes[0]
            if all(name in probe for probe in probes)
        },
    )


def oracle_predictions(world: World, queries: EvaluationQueries, users: int) -> OraclePredictions | None:
    """The Bayes-optimal filter's predictions at the queries of some users; None for 0 users."""
    if not users:
        return None
    everyone = np.unique(queries.actions.user)
    chosen = everyone[:: max(1, len(everyone) // users)][:users]
    actions = np.flatnonzero(np.isin(queries.actions.user, chosen))
    ranking = np.flatnonzero(np.isin(queries.ranking.user, chosen))
    # The row of a query in its history's log is where the history ends: times of a user are distinct in a world
    wanted = frozenset(queries.ranking.histories.ends[ranking].tolist())
    found = {p.row: p for user in chosen for p in predict_user(world, int(user), wanted)}
    ranks = np.empty(len(ranking), np.int64)
    for number, row in enumerate(queries.ranking.histories.ends[ranking]):
        scores = found[int(row)].item_scores
        assert scores is not None
        ranks[number] = (scores > scores[queries.ranking.item[ranking[number]]]).sum()
    probabilities = np.stack([found[int(row)].actions for row in queries.actions.histories.ends[actions]])
    return OraclePredictions(actions, probabilities, ranking, ranks)


@dataclass
class _Outcome:
    """Runs so far, models that failed with the reason, and blends with the same blend without the model."""

    runs: list[Run] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    without_model: dict[str, str] = field(default_factory=dict)

    def add(
        self,
        split: Split,
        queries: EvaluationQueries,
        models: Sequence[Recommender],
        title: str,
        where: str,
        fitted: dict[str, Recommender],
        acting: Sequence[PredictsActions] = (),
    ) -> Run:
        """Fit and predict: rankings of all models, actions of `acting` and of those models that predict them."""
        rankings, failed = predict_rankings(models, split, queries, title, fitted=fitted)
        acting = [*acting, *(one for one in models if one.name in rankings and isinstance(one, PredictsActions))]
        actions, failed_acting = predict_actions(acting, split, queries, title, fitted=rankings.keys())
        self.failed |= {name: f"{where}: {text}" for name, text in (failed | failed_acting).items()}
        self.without_model |= {one.name: one.without for one in models if isinstance(one, BuildsOn) and one.without}
        return Run(queries, rankings, actions)


def _row(
    key: str,
    name: str,
    dataset: Dataset,
    outcome: _Outcome,
    protocol: str,
    seeds: Sequence[int],
    *,
    same_users: bool,
) -> SetResult:
    baselines = [*(one.name for one in ranking_baselines()), *(one.name for one in action_baselines())]
    runs = outcome.runs
    summary = Summary(runs, baselines, same_users=same_users, without_model=outcome.without_model)
    repeated = len(runs) if same_users else 1  # seeds answer the same queries, each world has its own
    return SetResult(
        key=key,
        name=name,
        protocol=PROTOCOLS[protocol],
        seeds=list(seeds),
        licence=dataset.licence,
        mapping=dataset.mapping,
        limits=list(dataset.limits),
        items=len(dataset.catalogue),
        users=len(np.unique(summary.ranking_user)),
        targets=len(summary.ranking_user) // repeated,
        action_events=len(summary.action_user) // repeated,
        repeats=runs[0].queries.repeats,
        rankings=summary.rankings(),
        actions=summary.actions(),
        margins=summary.margins(),
        oracle=summary.oracle(),
        baselines=baselines,
        without_model=dict(outcome.without_model),
        failed=dict(outcome.failed),
    )
