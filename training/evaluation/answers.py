"""Raw answers of contenders at the moments of one split: metrics come later, so a new figure needs no new run."""

import sys
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from training.data.events import SKIP, Dataset, Histories
from training.data.split import Split
from training.evaluation.metrics import auc
from training.evaluation.protocol import (
    BuildsOn,
    Contender,
    Moments,
    PredictsActions,
    Scores,
    in_time_order,
    last_events,
    log_of,
    moments,
    shuffled,
)
from training.evaluation.ranking import rank_targets, repeats_happen

if TYPE_CHECKING:
    from training.evaluation.kept import KeptAnswers

COLD_STARTS = (0, 1, 3, 5, 10)
_SHUFFLE_SEED = 7
_BATCH = 512


@dataclass(frozen=True)
class Budget:
    """How much is asked of every contender: `ranked` and `acted` moments at most, so many of each user."""

    ranked: int = 4_000
    ranked_per_user: int = 10
    acted: int = 8_000
    acted_per_user: int = 40


@dataclass(frozen=True, eq=False)
class Asked:
    """The moments of a split. `warm` bool [ranked]: the target had an engaged event before the test began; `long` bool
    [ranked]: its history is long enough for every cold start to be a part of it."""

    dataset: Dataset
    ranked: Moments
    acted: Moments
    warm: NDArray[np.bool_]
    long: NDArray[np.bool_]
    repeats: bool

    @classmethod
    def of(cls, split: Split, budget: Budget) -> "Asked":
        log = log_of(*split)
        ties = not in_time_order(split.validation, split.test)
        ranked = moments(
            log, split.test, per_user=budget.ranked_per_user, at_most=budget.ranked, engaged_only=True,
            ties_foretell=ties,
        )  # fmt: skip
        acted = moments(
            log, split.test, per_user=budget.acted_per_user, at_most=budget.acted, engaged_only=False,
            ties_foretell=ties,
        )  # fmt: skip
        known = np.zeros(len(split.train.catalogue), np.bool_)
        for part in (split.train, split.validation):
            known[part.events.item[part.events.action != SKIP]] = True
        length = ranked.histories.ends - ranked.histories.starts
        return cls(
            split.train, ranked, acted, known[ranked.item], length >= COLD_STARTS[-1], repeats_happen(split.train)
        )


@dataclass(frozen=True, eq=False)
class RankingAnswers:
    """Ranks int64 [ranked]: of all targets; with what was seen left out; from shuffled histories; and int64 [long] from
    the last k events, by k. `auc` float64 [users]: engaged against skipped; `gap` float64 [users]: mean score of
    engaged less that of skipped, in standard deviations of a moment's scores. NaN for users with one kind only."""

    all: NDArray[np.int64]
    never_seen: NDArray[np.int64]
    shuffled: NDArray[np.int64]
    cold: dict[int, NDArray[np.int64]]
    auc: NDArray[np.float64]
    gap: NDArray[np.float64]
    choice: dict[str, Any] = field(default_factory=dict)
    tried: int = 0
    fit_seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class ActionAnswers:
    """P(action) float32 [acted, 4], and from shuffled histories."""

    probabilities: Scores
    shuffled: Scores
    choice: dict[str, Any] = field(default_factory=dict)
    fit_seconds: float = 0.0


def rank_all(
    contenders: Sequence[Contender],
    split: Split,
    asked: Asked,
    title: str,
    *,
    fitted: dict[str, Contender] | None = None,
    kept: "KeptAnswers | None" = None,
) -> tuple[dict[str, RankingAnswers], dict[str, str]]:
    """Fit each contender and let it rank. A contender is fitted once, in the order given.

    fitted: those of before on the same split, by name; what is fitted here joins them. kept: answers of earlier runs,
    used and added to. One that raises is not among the answers; the second dictionary says why, by name.
    """
    answers: dict[str, RankingAnswers] = {}
    failed: dict[str, str] = {}
    fitted = {} if fitted is None else fitted
    for number, contender in enumerate(contenders, start=1):
        with _Line(f"{title}: ranking {number}/{len(contenders)} {contender.name}", contender.name, failed):
            if kept and (found := kept.ranking(contender)):
                answers[contender.name] = found
            else:
                start = time.perf_counter()
                if isinstance(contender, BuildsOn):
                    contender.build_on(fitted)
                contender.fit(split.train, split.validation)
                answers[contender.name] = _rank(contender, asked, time.perf_counter() - start)
                if kept:
                    kept.keep_ranking(contender.name, answers[contender.name])
            fitted[contender.name] = contender
    return answers, failed


def act_all(
    contenders: Sequence[PredictsActions],
    split: Split,
    asked: Asked,
    title: str,
    *,
    fitted: Collection[str] = (),
    kept: "KeptAnswers | None" = None,
) -> tuple[dict[str, ActionAnswers], dict[str, str]]:
    """As `rank_all`, for actions. `fitted`: names of those that were fitted for their rankings."""
    answers: dict[str, ActionAnswers] = {}
    failed: dict[str, str] = {}
    for number, contender in enumerate(contenders, start=1):
        with _Line(f"{title}: actions {number}/{len(contenders)} {contender.name}", contender.name, failed):
            if kept and (found := kept.actions(contender.name)):
                answers[contender.name] = found
                continue
            start = time.perf_counter()
            if contender.name not in fitted:
                contender.fit(split.train, split.validation)
            seconds = time.perf_counter() - start
            plain, destroyed = (
                _probabilities(contender, asked.acted, histories)
                for histories in (asked.acted.histories, shuffled(asked.acted.histories, _SHUFFLE_SEED))
            )
            answers[contender.name] = ActionAnswers(plain, destroyed, dict(getattr(contender, "choice", {})), seconds)
            if kept:
                kept.keep_actions(contender.name, answers[contender.name])
    return answers, failed


def _rank(contender: Contender, asked: Asked, seconds: float) -> RankingAnswers:
    ranked, dataset = asked.ranked, asked.dataset
    without_seen = not asked.repeats

    def places(histories: Histories, where: Any = slice(None)) -> NDArray[np.int64]:
        return rank_targets(contender, dataset, ranked.take(where), without_seen=without_seen, histories=histories)

    plain = places(ranked.histories)
    never_seen = plain if without_seen else rank_targets(contender, dataset, ranked, without_seen=True)
    long = ranked.histories.take(asked.long)
    auc_by_user, gap_by_user = _engaged_against_skipped(contender, asked.acted)
    return RankingAnswers(
        all=plain,
        never_seen=never_seen,
        shuffled=places(shuffled(ranked.histories, _SHUFFLE_SEED)),
        cold={k: places(last_events(long, k), asked.long) for k in COLD_STARTS},
        auc=auc_by_user,
        gap=gap_by_user,
        choice=dict(getattr(contender, "choice", {})),
        tried=int(getattr(contender, "tried", 0)),
        fit_seconds=seconds,
    )


def _engaged_against_skipped(contender: Contender, acted: Moments) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How well the score of the item shown tells engaged from skipped, two figures a user: see RankingAnswers."""
    if not (acted.action == SKIP).any():
        return np.zeros(0), np.zeros(0)
    own, standard = np.empty(len(acted), np.float32), np.empty(len(acted), np.float32)
    for start in range(0, len(acted), _BATCH):
        part = slice(start, start + _BATCH)
        batch = acted.take(part)
        scores = contender.item_scores(batch.histories, batch.now_us, batch.device)
        own[part] = scores[np.arange(len(batch)), batch.item]
        standard[part] = (own[part] - scores.mean(axis=1)) / (scores.std(axis=1) + 1e-9)
    engaged = acted.action != SKIP
    users = [acted.user == user for user in np.unique(acted.user)]
    gaps = [
        standard[rows & engaged].mean() - standard[rows & ~engaged].mean()
        if 0 < engaged[rows].sum() < rows.sum()
        else np.nan
        for rows in users
    ]
    return np.array([auc(own[rows], engaged[rows]) for rows in users]), np.array(gaps)


def _probabilities(contender: PredictsActions, acted: Moments, histories: Histories) -> Scores:
    found = np.empty((len(acted), 4), np.float32)
    for start in range(0, len(acted), _BATCH):
        part = slice(start, start + _BATCH)
        found[part] = contender.action_probabilities(
            histories.take(part), acted.now_us[part], acted.device[part], acted.item[part]
        )
    if not np.allclose(found.sum(axis=1), 1, atol=1e-3):
        raise ValueError(f"{contender.name}: action probabilities sum to {found.sum(axis=1).min()}, expected 1")
    return found


class _Line:
    """A line on stderr: what is happening, then the seconds it took. What is raised goes to `failed` under the name: a
    contender that breaks is a row that says so, and the others are asked all the same."""

    def __init__(self, title: str, name: str, failed: dict[str, str]) -> None:
        self._title, self._name, self._failed = title, name, failed

    def __enter__(self) -> None:
        print(f"{self._title} … ", end="", file=sys.stderr, flush=True)
        self._start = time.perf_counter()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, Exception):  # also what ends the program
            print(f"{time.perf_counter() - self._start:.1f} s", file=sys.stderr, flush=True)
            return False
        self._failed[self._name] = f"{type(error).__name__}: {error}"
        print(f"failed, {self._failed[self._name]}", file=sys.stderr, flush=True)
        return True
