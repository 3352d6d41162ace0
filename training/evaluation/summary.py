"""From raw predictions, of one run or of several worlds and seeds together, to the figures of one data set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.evaluation import metrics
from training.evaluation.baselines import EXTENDED_BLENDS, REFERENCE_BASELINES, SIMPLE
from training.evaluation.bootstrap import mean_interval, paired_interval
from training.evaluation.prediction_cache import ActionPredictions, RankingPredictions
from training.evaluation.queries import COLD_STARTS, EvaluationQueries
from training.evaluation.results import Actions, Bins, Figure, Margin, Oracle, Ranking

K = 10
_WORLD = 10_000_000  # added to user numbers, world by world


@dataclass(frozen=True, eq=False)
class OraclePredictions:
    """The Bayes-optimal filter on some queries.

    action_rows int64 [a] of `queries.actions` with probabilities float64 [a, 4]; ranking_rows int64 [r] of
    `queries.ranking` with the targets' ranks int64 [r].
    """

    action_rows: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    ranking_rows: NDArray[np.int64]
    ranks: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Run:
    """The predictions of one world or seed, by model. oracle: None for real data."""

    queries: EvaluationQueries
    rankings: dict[str, RankingPredictions]
    actions: dict[str, ActionPredictions]
    oracle: OraclePredictions | None = None


class Summary:
    """Runs combined. Users of different worlds are different users; seeds of one real set share its users.

    A model that is missing in one run is left out. without_model: blend with the sequence model → the same without it.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        baselines: Sequence[str],
        *,
        same_users: bool,
        without_model: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.runs = runs
        self.baselines = baselines
        self.without_model = without_model
        self.same_users = same_users
        self._users_per_run = max(len(np.unique(runs[0].queries.actions.user)), 1)
        self.recommenders = [name for name in runs[0].rankings if all(name in run.rankings for run in runs)]
        self.predictors = [name for name in runs[0].actions if all(name in run.actions for run in runs)]
        offsets = [0 if same_users else number * _WORLD for number in range(len(runs))]
        self.ranking_user = _joined([run.queries.ranking.user + o for run, o in zip(runs, offsets, strict=True)])
        self.action_user = _joined([run.queries.actions.user + o for run, o in zip(runs, offsets, strict=True)])
        self.action = _joined([run.queries.actions.action for run in runs])
        self.seen = _joined([run.queries.ranking.seen_before for run in runs])
        self.warm = _joined([run.queries.warm for run in runs])
        self.long = _joined([run.queries.long for run in runs])

    def rankings(self) -> list[Ranking]:
        """One row per recommender."""
        return [self._ranking(name) for name in self.recommenders]

    def actions(self) -> list[Actions]:
        """One row per model that predicts actions."""
        return [self._actions(name) for name in self.predictors]

    def margins(self) -> list[Margin]:
        """Paired differences: every model against the best baseline, the best standard one, the reference baselines and
        its own blend without the model; also the best baseline against the second best."""
        found = []
        ndcg = {name: metrics.ndcg(self._ranks(name, "all"), K) for name in self.recommenders}
        found += self._margins(ndcg, self.ranking_user, "NDCG@10")
        if self.seen.any() and not self.seen.all():  # where users repeat items, new items are a question of their own
            new = ~self.seen
            ndcg = {name: metrics.ndcg(self._ranks(name, "never_seen")[new], K) for name in self.recommenders}
            found += self._margins(ndcg, self.ranking_user[new], "NDCG@10 of never seen")
        auc = {name: self._per_user(name, "auc") for name in self.recommenders}
        defined = ~np.isnan(next(iter(auc.values()), np.zeros(0)))  # users with both classes, the same for every model
        if defined.any():
            users = np.arange(len(defined)) % self._users_per_run if self.same_users else np.arange(len(defined))
            found += self._margins({n: values[defined] for n, values in auc.items()}, users[defined], "AUC")
        accuracy = {name: self._correct(name) for name in self.predictors}
        found += self._margins(accuracy, self.action_user, "accuracy")
        gain = {name: -self._losses(name) for name in self.predictors}
        found += self._margins(gain, self.action_user, "-log-loss")
        return found

    def oracle(self) -> Oracle | None:
        """The Bayes-optimal filter and every model on the same events; None where a run has no oracle."""
        given = [(run, run.oracle) for run in self.runs if run.oracle is not None]
        if len(given) < len(self.runs):
            return None
        action = _joined([run.queries.actions.action[o.action_rows] for run, o in given])
        user = _joined([run.queries.actions.user[o.action_rows] + _WORLD * i for i, (run, o) in enumerate(given)])
        probabilities = _joined([o.probabilities for _, o in given])
        correct = (probabilities.argmax(axis=1) == action).astype(np.float64)
        figures = metrics.action_figures(probabilities, action)
        accuracy: dict[str, float] = {}
        for name in self.predictors:
            predicted = _joined([run.actions[name].probabilities[o.action_rows] for run, o in given]).argmax(axis=1)
            accuracy[name] = float((predicted == action).mean())
        ndcg: dict[str, float] = {}
        for name in self.recommenders:
            ranks = _joined([run.rankings[name].all[o.ranking_rows] for run, o in given])
            ndcg[name] = float(metrics.ndcg(ranks, K).mean())
        best = max((accuracy[name] for name in accuracy if name in self.baselines), default=float("nan"))
        return Oracle(
            users=len(np.unique(user)),
            events=len(action),
            accuracy=Figure.of(mean_interval(correct, user)),
            log_loss=round(figures.log_loss, 4),
            macro_f1=round(figures.macro_f1, 4),
            ndcg10=round(float(metrics.ndcg(_joined([o.ranks for _, o in given]), K).mean()), 4),
            model_accuracy={name: round(value, 4) for name, value in accuracy.items()},
            model_ndcg10={name: round(value, 4) for name, value in ndcg.items()},
            gap_closed={
                name: round(float((value - best) / (correct.mean() - best)), 3)
                for name, value in accuracy.items()
                if name not in self.baselines and correct.mean() > best
            },
        )

    def _ranks(self, name: str, which: str) -> NDArray[np.int64]:
        return _joined([getattr(run.rankings[name], which) for run in self.runs])

    def _per_user(self, name: str, which: str) -> NDArray[np.float64]:
        return _joined([getattr(run.rankings[name], which) for run in self.runs])

    def _correct(self, name: str) -> NDArray[np.float64]:
        return (self._probabilities(name).argmax(axis=1) == self.action).astype(np.float64)

    def _losses(self, name: str) -> NDArray[np.float64]:
        return metrics.log_losses(self._probabilities(name), self.action)

    def _probabilities(self, name: str) -> NDArray[np.float32]:
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
                slices[label] = _ranking_figures(self._ranks(name, which)[mask], self.ranking_user[mask])
        ndcg = metrics.ndcg(self._ranks(name, "all"), K)
        shuffled_ndcg = metrics.ndcg(self._ranks(name, "shuffled"), K)
        cold = {
            str(k): round(float(metrics.ndcg(_joined([run.rankings[name].cold[k] for run in self.runs]), K).mean()), 5)
            for k in COLD_STARTS
            if self.long.any()
        }
        if cold:
            cold["all"] = round(float(ndcg[self.long].mean()), 5)
        auc, gap = self._per_user(name, "auc"), self._per_user(name, "gap")
        auc, gap = auc[~np.isnan(auc)], gap[~np.isnan(gap)]
        first = self.runs[0].rankings[name]
        return Ranking(
            model=name,
            slices=slices,
            shuffled_ndcg10=Figure.of(mean_interval(shuffled_ndcg, self.ranking_user)),
            cold_start_ndcg10=cold,
            engaged_auc=round(float(auc.mean()), 4) if len(auc) else None,
            engaged_gap=round(float(gap.mean()), 4) if len(gap) else None,
            seeds_ndcg10=[round(float(metrics.ndcg(run.rankings[name].all, K).mean()), 5) for run in self.runs],
            order_ndcg10=Figure.of(paired_interval(ndcg, shuffled_ndcg, self.ranking_user)),
            choice=serialisable(first.choice),
            settings_tried=first.settings_tried,
            fit_seconds=round(float(np.mean([run.rankings[name].fit_seconds for run in self.runs])), 1),
        )

    def _actions(self, name: str) -> Actions:
        probabilities = self._probabilities(name)
        figures = metrics.action_figures(probabilities, self.action)
        bins = metrics.calibration(probabilities, self.action)
        shuffled = _joined([run.actions[name].shuffled for run in self.runs]).argmax(axis=1)
        return Actions(
            model=name,
            accuracy=Figure.of(mean_interval(self._correct(name), self.action_user)),
            log_loss=Figure.of(mean_interval(self._losses(name), self.action_user)),
            macro_f1=round(figures.macro_f1, 4),
            calibration_error=round(figures.calibration_error, 4),
            bins=Bins(*([round(float(v), 4) for v in values] for values in bins[:3])),
            shuffled_accuracy=round(float((shuffled == self.action).mean()), 4),
            choice=serialisable(self.runs[0].actions[name].choice),
            fit_seconds=round(float(np.mean([run.actions[name].fit_seconds for run in self.runs])), 1),
        )

    def _margins(self, values: dict[str, NDArray[np.float64]], users: NDArray[np.int64], metric: str) -> list[Margin]:
        baselines = sorted((name for name in values if name in self.baselines), key=lambda name: -values[name].mean())
        if not baselines:
            return []
        standard = [name for name in baselines if name not in EXTENDED_BLENDS]
        always = [name for name in (*REFERENCE_BASELINES, SIMPLE) if name in baselines]
        pairs = []
        for name in (name for name in values if name not in self.baselines):
            own = [other for other in [self.without_model.get(name)] if other in values]
            pairs += [(name, other) for other in dict.fromkeys([baselines[0], *standard[:1], *always, *own])]
        pairs += [(baselines[0], other) for other in baselines[1:2]]
        return [
            Margin(
                model=ours,
                baseline=theirs,
                metric=metric,
                difference=Figure.of(paired_interval(values[ours], values[theirs], users)),
            )
            for ours, theirs in pairs
        ]


def _ranking_figures(ranks: NDArray[np.int64], users: NDArray[np.int64]) -> dict[str, Figure]:
    return {
        "HR@10": Figure.of(mean_interval(metrics.hit_rate(ranks, K), users)),
        "NDCG@10": Figure.of(mean_interval(metrics.ndcg(ranks, K), users)),
        "MRR": Figure.of(mean_interval(metrics.reciprocal_rank(ranks), users)),
        "recall@50": Figure.of(mean_interval(metrics.hit_rate(ranks, 50), users)),
    }


def serialisable(choice: Mapping[str, Any]) -> dict[str, Any]:
    """Hyperparameters in the form JSON returns them: tuples as lists, an infinite number as text."""

    def one(value: Any) -> Any:
        if isinstance(value, tuple):
            return [one(part) for part in value]
        return str(value) if value == float("inf") else value

    return {key: one(value) for key, value in choice.items()}


def _joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(list(parts))
