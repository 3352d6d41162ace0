"""One row of the results: a data set, split, asked of everybody, summarised."""

from collections.abc import Callable, Sequence

import numpy as np

from training.data.events import Dataset
from training.data.split import Split, by_time, leave_last_out
from training.evaluation.answers import Asked, Budget, act_all, rank_all
from training.evaluation.baselines import action_baselines, ranking_baselines
from training.evaluation.probe import probe_cosine
from training.evaluation.protocol import Contender, HasUserVectors, PredictsActions
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
) -> SetResult:
    """Contenders are fitted once a seed; baselines have no chance in them and are fitted once."""
    split = by_time(dataset) if protocol == "time" else leave_last_out(dataset)
    asked = Asked.of(split, budget)
    contenders = [make("real", seeds[0]) for make in factories]
    ranking = [*(ranking_baselines() if with_baselines else []), *contenders]
    first = _run(split, asked, ranking, contenders, with_baselines, dataset.name)
    runs = [first]
    for seed in seeds[1:] if factories else []:
        contenders = [make("real", seed) for make in factories]
        run = _run(split, asked, contenders, contenders, False, f"{dataset.name}, seed {seed}")
        # What did not run again answers as before: the pairs stay pairs
        runs.append(Run(asked, {**first.rankings, **run.rankings}, {**first.actions, **run.actions}))
    return _row(f"{dataset.name}, {protocol}", dataset, runs, protocol, same_users=True, seeds=list(seeds))


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
    for seed in seeds:
        world = simulate(parameters, seed)
        split = by_time(world.dataset)
        asked = Asked.of(split, budget)
        contenders: list[Contender] = [make(f"{parameters.omega:g}", seed) for make in factories]
        ranking = [*(ranking_baselines() if with_baselines else []), *contenders]
        run = _run(split, asked, ranking, contenders, with_baselines, world.dataset.name)
        runs.append(Run(asked, run.rankings, run.actions, bound_answers(world, asked, bound_users)))
        shares.append(text_share(world))
        taste = world.profiles.taste[world.users.profile]
        probes.append({one.name: probe_cosine(one, asked, taste) for one in ranking if isinstance(one, HasUserVectors)})
    return _row(
        f"simulated, omega {parameters.omega:g}", world.dataset, runs, "time", same_users=False, seeds=list(seeds),
        omega=parameters.omega, text_share=round(float(np.mean(shares)), 3),
        probe_cosine={name: round(float(np.mean([probe[name] for probe in probes])), 4) for name in probes[0]},
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
    ranking: Sequence[Contender],
    contenders: Sequence[Contender],
    with_baselines: bool,
    title: str,
) -> Run:
    rankings = rank_all(ranking, split, asked, title)
    acting: list[PredictsActions] = list(action_baselines()) if with_baselines else []
    acting += [one for one in contenders if isinstance(one, PredictsActions)]
    return Run(asked, rankings, act_all(acting, split, asked, title, fitted=rankings.keys()))


def _row(
    key: str,
    dataset: Dataset,
    runs: list[Run],
    protocol: str,
    *,
    same_users: bool,
    seeds: list[int],
    omega: float | None = None,
    text_share: float | None = None,
    probe_cosine: dict[str, float] | None = None,
) -> SetResult:
    baselines = [*(one.name for one in ranking_baselines()), *(one.name for one in action_baselines())]
    summary = Summary(runs, baselines, same_users=same_users)
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
        targets=len(summary.ranked_user),
        action_events=len(summary.acted_user),
        repeats=runs[0].asked.repeats,
        text_share=text_share,
        rankings=summary.rankings(),
        actions=summary.actions(),
        margins=summary.margins(),
        bound=summary.bound(),
        probe_cosine=probe_cosine or {},
        baselines=baselines,
    )
