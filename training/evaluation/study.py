"""One row of the results: a data set, split, asked of everybody, summarised."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from training.data.events import Dataset
from training.data.split import Split, by_time, leave_last_out
from training.evaluation.answers import Asked, Budget, act_all, rank_all
from training.evaluation.baselines import action_baselines, ranking_baselines
from training.evaluation.kept import KeptAnswers
from training.evaluation.probe import probe_cosine
from training.evaluation.protocol import BuildsOn, Contender, HasUserVectors, PredictsActions
from training.evaluation.results import SetResult
from training.evaluation.summary import BoundAnswers, Run, Summary
from training.simulator.filter import predict_user
from training.simulator.parameters import Parameters
from training.simulator.text_share import text_share
from training.simulator.world import World, simulate

Factory = Callable[[str, int], Contender]

PROTOCOLS = {
    "time": "global time split 70/10/20, next engaged item over the whole catalogue",
    "last": "leave last out, next engaged item over the whole catalogue",
}


def real_set(
    dataset: Dataset,
    protocol: str,
    factories: Sequence[Factory],
    seeds: Sequence[int],
    budget: Budget,
    *,
    with_baselines: bool = True,
    answers: Path | None = None,
) -> SetResult:
    """Contenders are fitted once a seed; baselines have no chance in them and are fitted once, or their answers of an
    earlier run are read from the folder `answers`."""
    split = by_time(dataset) if protocol == "time" else leave_last_out(dataset)
    asked = Asked.of(split, budget)
    kept = KeptAnswers(answers, split, budget) if answers else None
    fitted: dict[str, Contender] = {}
    baselines, acting = (ranking_baselines(), action_baselines()) if with_baselines else ([], [])
    rankings, failed = rank_all(baselines, split, asked, dataset.name, fitted=fitted, kept=kept)
    actions, failed_acting = act_all(acting, split, asked, dataset.name, kept=kept)
    failed |= failed_acting
    first = Run(asked, rankings, actions)
    runs: list[Run] = []
    twins: dict[str, str] = {}
    for seed in seeds if factories else []:
        contenders = [make("real", seed) for make in factories]
        run, why = _run(split, asked, contenders, f"{dataset.name}, seed {seed}", dict(fitted))
        failed |= {name: f"seed {seed}: {text}" for name, text in why.items()}
        twins |= _twins(contenders)
        # The baselines answer as before: the pairs stay pairs
        runs.append(Run(asked, {**rankings, **run.rankings}, {**actions, **run.actions}))
    return _row(
        f"{dataset.name}, {protocol}", dataset, runs or [first], protocol, same_users=True, seeds=list(seeds),
        failed=failed, twins=twins,
    )  # fmt: skip


def simulated_worlds(
    parameters: Parameters,
    seeds: Sequence[int],
    factories: Sequence[Factory],
    budget: Budget,
    *,
    bound_users: int,
    with_baselines: bool = True,
) -> SetResult:
    """All worlds of one omega: every contender is fitted anew in each, on its past, and asked of its future."""
    runs, shares, probes = [], [], []
    failed: dict[str, str] = {}
    twins: dict[str, str] = {}
    for seed in seeds:
        world = simulate(parameters, seed)
        split = by_time(world.dataset)
        asked = Asked.of(split, budget)
        contenders: list[Contender] = [make(f"{parameters.omega:g}", seed) for make in factories]
        everybody = [*(ranking_baselines() if with_baselines else []), *contenders]
        run, why = _run(split, asked, everybody, world.dataset.name, {}, action_baselines() if with_baselines else [])
        failed |= {name: f"world {seed}: {text}" for name, text in why.items()}
        twins |= _twins(contenders)
        runs.append(Run(asked, run.rankings, run.actions, bound_answers(world, asked, bound_users)))
        shares.append(text_share(world))
        taste = world.profiles.taste[world.users.profile]
        probed = [one for one in everybody if isinstance(one, HasUserVectors) and one.name in run.rankings]
        probes.append({one.name: probe_cosine(one, asked, taste) for one in probed})
    return _row(
        f"simulated, omega {parameters.omega:g}", world.dataset, runs, "time", same_users=False, seeds=list(seeds),
        omega=parameters.omega, text_share=round(float(np.mean(shares)), 3), failed=failed, twins=twins,
        probe_cosine={
            name: round(float(np.mean([probe[name] for probe in probes])), 4)
            for name in probes[0]
            if all(name in probe for probe in probes)
        },
    )  # fmt: skip


def bound_answers(world: World, asked: Asked, users: int) -> BoundAnswers | None:
    """The exact filter at the moments of some of the users that were asked for."""
    if not users:
        return None
    everyone = np.unique(asked.acted.user)
    chosen = everyone[:: max(1, len(everyone) // users)][:users]
    acted = np.flatnonzero(np.isin(asked.acted.user, chosen))
    ranked = np.flatnonzero(np.isin(asked.ranked.user, chosen))
    # A moment's row in its history's log is where the history ends: times of a user are distinct in a world
    wanted = frozenset(asked.ranked.histories.ends[ranked].tolist())
    found = {p.row: p for user in chosen for p in predict_user(world, int(user), wanted)}
    ranks = np.empty(len(ranked), np.int64)
    for number, row in enumerate(asked.ranked.histories.ends[ranked]):
        scores = found[int(row)].item_scores
        assert scores is not None
        ranks[number] = (scores > scores[asked.ranked.item[ranked[number]]]).sum()
    probabilities = np.stack([found[int(row)].actions for row in asked.acted.histories.ends[acted]])
    return BoundAnswers(acted, probabilities, ranked, ranks)


def _run(
    split: Split,
    asked: Asked,
    contenders: Sequence[Contender],
    title: str,
    fitted: dict[str, Contender],
    acting: Sequence[PredictsActions] = (),
) -> tuple[Run, dict[str, str]]:
    """Rankings of all, actions of `acting` and of those contenders that tell them, and what failed."""
    rankings, failed = rank_all(contenders, split, asked, title, fitted=fitted)
    acting = [*acting, *(c for c in contenders if c.name in rankings and isinstance(c, PredictsActions))]
    actions, failed_acting = act_all(acting, split, asked, title, fitted=rankings.keys())
    return Run(asked, rankings, actions), failed | failed_acting


def _twins(contenders: Sequence[Contender]) -> dict[str, str]:
    return {one.name: one.without for one in contenders if isinstance(one, BuildsOn) and one.without}


def _row(
    key: str,
    dataset: Dataset,
    runs: list[Run],
    protocol: str,
    *,
    same_users: bool,
    seeds: list[int],
    failed: Mapping[str, str],
    twins: Mapping[str, str],
    omega: float | None = None,
    text_share: float | None = None,
    probe_cosine: dict[str, float] | None = None,
) -> SetResult:
    baselines = [*(one.name for one in ranking_baselines()), *(one.name for one in action_baselines())]
    summary = Summary(runs, baselines, same_users=same_users, twins=twins)
    again = len(runs) if same_users else 1  # seeds are asked of the same moments, worlds of their own
    return SetResult(
        key=key,
        name=key.partition(",")[0] if omega is None else key,
        protocol=PROTOCOLS[protocol],
        omega=omega,
        seeds=seeds,
        licence=dataset.licence,
        mapping=dataset.mapping,
        limits=list(dataset.limits),
        items=len(dataset.catalogue),
        users_asked=len(np.unique(summary.ranked_user)),
        targets=len(summary.ranked_user) // again,
        action_events=len(summary.acted_user) // again,
        repeats=runs[0].asked.repeats,
        text_share=text_share,
        rankings=summary.rankings(),
        actions=summary.actions(),
        margins=summary.margins(),
        bound=summary.bound(),
        probe_cosine=probe_cosine or {},
        baselines=baselines,
        twins=dict(twins),
        failed=dict(failed),
    )
