"""From raw answers, of one run or of several worlds and seeds together, to the figures of one data set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.evaluation import metrics
from training.evaluation.answers import COLD_STARTS, ActionAnswers, Asked, RankingAnswers
from training.evaluation.baselines import BEYOND_THE_USUAL, FLOOR, SIMPLE
from training.evaluation.bootstrap import mean_interval, paired_interval
from training.evaluation.results import Actions, Bins, Bound, Figure, Margin, Ranking

K = 10
_WORLD = 10_000_000  # added to user numbers, world by world


@dataclass(frozen=True, eq=False)
class Run:
    """What one world and seed gave. `bound`: rows of `asked.acted` that the filter was asked for and what it said, and
    the same for rankings; None for real data."""

    asked: Asked
    rankings: dict[str, RankingAnswers]
    actions: dict[str, ActionAnswers]
    bound: "BoundAnswers | None" = None


@dataclass(frozen=True, eq=False)
class BoundAnswers:
    """rows int64 [a] of `acted` and probabilities [a, 4]; ranked_rows int64 [r] of `ranked` and ranks int64 [r]."""

    rows: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    ranked_rows: NDArray[np.int64]
    ranks: NDArray[np.int64]


class Summary:
    """Runs put together. Users of different worlds are different users; of the same real set, the same.

    A contender that is missing in one run is left out. twins: contender → the baseline that it is without the model.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        baselines: Sequence[str],
        *,
        same_users: bool,
        twins: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.runs = runs
        self.baselines = baselines
        self.twins = twins
        self.same_users = same_users
        self._users_a_run = max(len(np.unique(runs[0].asked.acted.user)), 1)
        self.ranking = [name for name in runs[0].rankings if all(name in run.rankings for run in runs)]
        self.acting = [name for name in runs[0].actions if all(name in run.actions for run in runs)]
        offsets = [0 if same_users else number * _WORLD for number in range(len(runs))]
        self.ranked_user = _joined([run.asked.ranked.user + o for run, o in zip(runs, offsets, strict=True)])
        self.acted_user = _joined([run.asked.acted.user + o for run, o in zip(runs, offsets, strict=True)])
        self.action = _joined([run.asked.acted.action for run in runs])
        self.seen = _joined([run.asked.ranked.seen_before for run in runs])
        self.warm = _joined([run.asked.warm for run in runs])
        self.long = _joined([run.asked.long for run in runs])

    def rankings(self) -> list[Ranking]:
        return [self._ranking(name) for name in self.ranking]

    def actions(self) -> list[Actions]:
        return [self._actions(name) for name in self.acting]

    def margins(self) -> list[Margin]:
        """Every contender against the best baseline, the best usual one and the floor; the best against the next."""
        found = []
        ndcg = {name: metrics.ndcg(self._ranks(name, "all"), K) for name in self.ranking}
        found += self._margins(ndcg, self.ranked_user, "NDCG@10")
        if self.seen.any() and not self.seen.all():  # where people come back, what is new is another question
            new = ~self.seen
            ndcg = {name: metrics.ndcg(self._ranks(name, "never_seen")[new], K) for name in self.ranking}
            found += self._margins(ndcg, self.ranked_user[new], "NDCG@10 of never seen")
        auc = {name: self._of_users(name, "auc") for name in self.ranking}
        told_apart = ~np.isnan(next(iter(auc.values()), np.zeros(0)))  # users with both kinds, the same for everybody
        if told_apart.any():
            users = np.arange(len(told_apart)) % self._users_a_run if self.same_users else np.arange(len(told_apart))
            found += self._margins({n: values[told_apart] for n, values in auc.items()}, users[told_apart], "AUC")
        accuracy = {name: self._right(name) for name in self.acting}
        found += self._margins(accuracy, self.acted_user, "accuracy")
        gain = {name: -self._losses(name) for name in self.acting}
        found += self._margins(gain, self.acted_user, "-log-loss")
        return found

    def bound(self) -> Bound | None:
        if any(run.bound is None for run in self.runs):
            return None
        given = [run.bound for run in self.runs if run.bound is not None]
        action = _joined([run.asked.acted.action[b.rows] for run, b in zip(self.runs, given, strict=True)])
        user = _joined(
            [run.asked.acted.user[b.rows] + _WORLD * i for i, (run, b) in enumerate(zip(self.runs, given, strict=True))]
        )
        probabilities = _joined([b.probabilities for b in given])
        right = (probabilities.argmax(axis=1) == action).astype(np.float64)
        figures = metrics.action_figures(probabilities, action)
        accuracy = {
            name: float(
                np.mean(
                    _joined([run.actions[name].probabilities[b.rows] for run, b in zip(self.runs, given, strict=True)])
                    .argmax(axis=1) == action
                )
            )
            for name in self.acting
        }  # fmt: skip
        ranked = {
            name: float(
                metrics.ndcg(
                    _joined([run.rankings[name].all[b.ranked_rows] for run, b in zip(self.runs, given, strict=True)]), K
                ).mean()
            )
            for name in self.ranking
        }
        best = max((accuracy[name] for name in accuracy if name in self.baselines), default=float("nan"))
        return Bound(
            users=len(np.unique(user)),
            events=len(action),
            accuracy=Figure.of(mean_interval(right, user)),
            log_loss=round(figures.log_loss, 4),
            macro_f1=round(figures.macro_f1, 4),
            ndcg10=round(float(metrics.ndcg(_joined([b.ranks for b in given]), K).mean()), 4),
            contender_accuracy={name: round(value, 4) for name, value in accuracy.items()},
            contender_ndcg10={name: round(value, 4) for name, value in ranked.items()},
            way_from_baseline={
                name: round(float((value - best) / (right.mean() - best)), 3)
                for name, value in accuracy.items()
                if name not in self.baselines and right.mean() > best
            },
        )

    def _ranks(self, name: str, which: str) -> NDArray[np.int64]:
        return _joined([getattr(run.rankings[name], which) for run in self.runs])

    def _of_users(self, name: str, which: str) -> NDArray[np.float64]:
        return _joined([getattr(run.rankings[name], which) for run in self.runs])

    def _right(self, name: str) -> NDArray[np.float64]:
        return (self._stated(name).argmax(axis=1) == self.action).astype(np.float64)

    def _losses(self, name: str) -> NDArray[np.float64]:
        return metrics.log_losses(self._stated(name), self.action)

    def _stated(self, name: str) -> NDArray[np.float32]:
        return _joined([run.actions[name].probabilities for run in self.runs])

    def _ranking(self, name: str) -> Ranking:
        everything = np.ones(len(self.seen), np.bool_)
        slices: dict[str, dict[str, Figure]] = {}
        for label, mask, which in (
            ("all", everything, "all"),
            ("never seen", ~self.seen, "never_seen"),
            ("repeats", self.seen, "all"),
            ("warm items", self.warm, "all"),
            ("cold items", ~self.warm, "all"),
        ):
            if mask.any():
                slices[label] = self._slice(self._ranks(name, which)[mask], self.ranked_user[mask])
        destroyed = metrics.ndcg(self._ranks(name, "shuffled"), K)
        cold = {
            str(k): round(float(metrics.ndcg(_joined([run.rankings[name].cold[k] for run in self.runs]), K).mean()), 5)
            for k in COLD_STARTS
            if self.long.any()
        }
        if cold:
            cold["all"] = round(float(metrics.ndcg(self._ranks(name, "all")[self.long], K).mean()), 5)
        auc, gap = self._of_users(name, "auc"), self._of_users(name, "gap")
        auc, gap = auc[~np.isnan(auc)], gap[~np.isnan(gap)]
        plain_ndcg = metrics.ndcg(self._ranks(name, "all"), K)
        first = self.runs[0].rankings[name]
        return Ranking(
            contender=name,
            slices=slices,
            shuffled_ndcg10=Figure.of(mean_interval(destroyed, self.ranked_user)),
            cold_start_ndcg10=cold,
            engaged_auc=round(float(auc.mean()), 4) if len(auc) else None,
            engaged_gap=round(float(gap.mean()), 4) if len(gap) else None,
            seeds_ndcg10=[round(float(metrics.ndcg(run.rankings[name].all, K).mean()), 5) for run in self.runs],
            order_ndcg10=Figure.of(paired_interval(plain_ndcg, destroyed, self.ranked_user)),
            choice=plain(first.choice),
            settings_tried=first.tried,
            fit_seconds=round(float(np.mean([run.rankings[name].fit_seconds for run in self.runs])), 1),
        )

    def _slice(self, ranks: NDArray[np.int64], users: NDArray[np.int64]) -> dict[str, Figure]:
        return {
            "HR@10": Figure.of(mean_interval(metrics.hit_rate(ranks, K), users)),
            "NDCG@10": Figure.of(mean_interval(metrics.ndcg(ranks, K), users)),
            "MRR": Figure.of(mean_interval(metrics.reciprocal_rank(ranks), users)),
            "recall@50": Figure.of(mean_interval(metrics.hit_rate(ranks, 50), users)),
        }

    def _actions(self, name: str) -> Actions:
        stated = self._stated(name)
        figures = metrics.action_figures(stated, self.action)
        bins = metrics.calibration(stated, self.action)
        destroyed = _joined([run.actions[name].shuffled for run in self.runs]).argmax(axis=1)
        return Actions(
            contender=name,
            accuracy=Figure.of(mean_interval(self._right(name), self.acted_user)),
            log_loss=Figure.of(mean_interval(self._losses(name), self.acted_user)),
            macro_f1=round(figures.macro_f1, 4),
            calibration_error=round(figures.calibration_error, 4),
            bins=Bins(*([round(float(v), 4) for v in values] for values in bins[:3])),
            shuffled_accuracy=round(float((destroyed == self.action).mean()), 4),
            choice=plain(self.runs[0].actions[name].choice),
            fit_seconds=round(float(np.mean([run.actions[name].fit_seconds for run in self.runs])), 1),
        )

    def _margins(self, values: dict[str, NDArray[np.float64]], users: NDArray[np.int64], metric: str) -> list[Margin]:
        baselines = sorted((name for name in values if name in self.baselines), key=lambda name: -values[name].mean())
        if not baselines:
            return []
        usual = [name for name in baselines if name not in BEYOND_THE_USUAL]
        always = [*FLOOR, SIMPLE]
        against = dict.fromkeys([baselines[0], *usual[:1], *(name for name in always if name in baselines)])
        pairs = [
            (name, baseline)
            for name in values
            if name not in self.baselines
            for baseline in dict.fromkeys([*against, *(twin for twin in [self.twins.get(name)] if twin in values)])
        ]
        pairs += [(baselines[0], other) for other in baselines[1:2]]
        return [
            Margin(
                contender=ours,
                baseline=theirs,
                metric=metric,
                difference=Figure.of(paired_interval(values[ours], values[theirs], users)),
            )
            for ours, theirs in pairs
        ]


def plain(choice: dict[str, Any]) -> dict[str, Any]:
    """What JSON gives back as it was: an infinite half-life is the word, a tuple is a list."""
    listed = {key: list(value) if isinstance(value, tuple) else value for key, value in choice.items()}
    return {key: str(value) if value == float("inf") else value for key, value in listed.items()}


def _joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(list(parts))
