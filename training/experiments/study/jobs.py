"""One run of the study: a model trained on one data set and tested on the newest fifth of it."""

import hashlib
import time
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from training.checkpoint import BEST, Checkpoint
from training.data.split import Split
from training.evaluation import metrics
from training.evaluation.protocol import PredictsActions, Recommender, Scores
from training.evaluation.queries import EvaluationQueries, Queries
from training.evaluation.ranking import rank_targets
from training.evaluation.sequence import GivenCheckpoint, SequenceRecommender
from training.experiments.study.baselines import BASELINES
from training.experiments.study.data import TOGETHER, is_world, load_split, load_world, seed_of, training_worlds
from training.experiments.study.effort import EFFORTS, USUAL, Effort
from training.experiments.study.variants import data_of, parts_off, recipe_of
from training.published.model import PUBLISHED, WITH_TEXT
from training.published.recommender import PublishedRecommender
from training.recipes import RECIPES, Recipe, fine_tuning, reference, without, world
from training.simulator.oracle import predict_user
from training.train import train

COMMITTED = "committed"  # the reference checkpoint of this repository
ORACLE = "oracle"
_PUBLISHED = {one.name: one for one in (*PUBLISHED, WITH_TEXT)}

_BATCH = 512


@dataclass(frozen=True)
class Job:
    """data: see `load_split`, or the kind of worlds that `pretraining` names the seeds of. model: one of `variants`, a
    published model, a baseline, or ORACLE. start: "" for random weights, COMMITTED, or name of the pre-training that is
    fine-tuned; one of the tested worlds together is tested as it is."""

    data: str
    model: str
    seed: int = 0
    start: str = ""
    pretraining: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """Of the pre-training, as others start from it."""
        return f"{self.model}, {self.data}"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of results. effort: one of EFFORTS. queries: digest of the events tested on: rows with the same are
    paired. Figures are means over those events; the value of each is in the arrays under the row's number."""

    number: int
    data: str
    model: str
    seed: int
    start: str
    queries: str
    effort: str = USUAL
    ndcg10: float | None = None
    hr10: float | None = None
    accuracy: float | None = None
    log_loss: float | None = None
    seconds: float
    epochs: int | None = None
    machine: str
    failed: str = ""


class Place(NamedTuple):
    """Where a study runs: folder of worlds and checkpoints, public sets, cpu or cuda, and the machine in words."""

    folder: Path
    data_dir: Path | None
    device: str
    machine: str
    epochs: int | None = None  # at most, for tests
    effort_name: str = USUAL

    @property
    def effort(self) -> Effort:
        """How much is spent on each model."""
        return EFFORTS[self.effort_name]


Arrays = dict[str, NDArray[Any]]
OF_QUERIES = ("ranking_user", "ranking_met", "action_user")  # arrays that all rows with the same queries share


def run(job: Job, number: int, place: Place) -> tuple[Row, Arrays]:
    """Train and test. A model that raises is a row that says so."""
    started = time.monotonic()
    try:
        figures, arrays = pretrain(job, place) if job.pretraining else measure(job, place)
    except Exception as error:
        figures, arrays = {"queries": "", "failed": f"{type(error).__name__}: {error}"}, {}
    seconds = round(time.monotonic() - started, 1)
    row = Row(
        number=number, data=job.data, model=job.model, seed=job.seed, start=job.start, seconds=seconds,
        effort=place.effort_name, machine=place.machine, **figures,
    )  # fmt: skip
    return row, arrays


def pretrain(job: Job, place: Place) -> tuple[dict[str, Any], Arrays]:
    """Train on several worlds; the checkpoint is in the study's folder under the job's name."""
    split = training_worlds(job.data, job.pretraining, place.folder, place.effort_name)
    recipe = replace(reference(), name="reference", batch=32, epochs=6, warmup=200)
    if job.data == TOGETHER:
        recipe = replace(world(), **place.effort.worlds)
    recipe = _limited(without(recipe, parts_off(job.model)), job, place)
    folder = place.folder / "pretrained" / job.name
    checkpoint = train(split.train, split.validation, recipe, folder, progress=False, device=place.device)
    best = min(checkpoint.metrics, key=lambda line: line["validation"]["loss"])
    figures = {"queries": "", "accuracy": best["validation"]["accuracy"], "epochs": len(checkpoint.metrics)}
    return figures, {}


def measure(job: Job, place: Place) -> tuple[dict[str, Any], Arrays]:
    """Train on train and validation, test on the test part."""
    split, queries = _data(job.data, place)
    figures: dict[str, Any] = {"queries": digest(queries)}
    arrays: Arrays = {
        "ranking_user": queries.ranking.user,
        "ranking_met": met(split, queries.ranking.item, refit=place.effort.refit),
        "action_user": queries.actions.user,
    }
    if job.model == ORACLE:
        predicted = _oracle(job.data, place, queries.actions)
        return figures | _actions(predicted, queries.actions, arrays), arrays
    model, read = recommender(job, split, place), data_of(job.model, split)
    model.fit(read.train, read.validation)
    if hasattr(model, "item_scores"):
        ranks = rank_targets(model, queries.dataset, queries.ranking, without_seen=not queries.repeats)
        arrays["ndcg"] = metrics.ndcg(ranks, 10).astype(np.float16)
        arrays["hit"] = ranks < 10
        figures |= {"ndcg10": float(metrics.ndcg(ranks, 10).mean()), "hr10": float((ranks < 10).mean())}
    if isinstance(model, PredictsActions):
        figures |= _actions(_probabilities(model, queries.actions), queries.actions, arrays)
    if (epochs := getattr(model, "choice", {}).get("epochs")) is not None:
        figures["epochs"] = epochs
    return figures, arrays


def met(split: Split, item: NDArray[np.int32], *, refit: bool) -> NDArray[np.bool_]:
    """Whether these items occur in the events that a model is trained on. refit: those of validation, too."""
    parts = (split.train, split.validation) if refit else (split.train,)
    known = sum(np.bincount(part.events.item, minlength=len(part.catalogue)) for part in parts)
    found: NDArray[np.bool_] = np.asarray(known)[item] > 0
    return found


def recommender(job: Job, split: Split, place: Place) -> Recommender:
    """The model of a job, not yet fitted."""
    if job.model in BASELINES:
        baseline: Recommender = BASELINES[job.model]()
        return baseline
    if job.model in _PUBLISHED:
        config = replace(_PUBLISHED[job.model], seed=job.seed, **place.effort.published)
        config = replace(config, epochs=place.epochs or config.epochs)
        return PublishedRecommender(config, place.device, refit=place.effort.refit)
    refit = place.effort.refit
    if not job.start:
        recipe = world() if is_world(job.data) else RECIPES[job.data]()
        recipe = replace(recipe, **place.effort.worlds if is_world(job.data) else place.effort.sets)
        recipe = recipe_of(job.model, recipe)
        return SequenceRecommender(_limited(recipe, job, place), refit=refit, device=place.device, progress=False)
    folder = Path("checkpoints/reference") if job.start == COMMITTED else place.folder / "pretrained" / job.start / BEST
    start = Checkpoint.load(folder)
    if job.start.endswith(TOGETHER):
        return GivenCheckpoint(of_world(start, job.data), name=job.model)
    recipe = _limited(without(fine_tuning(start.recipe), parts_off(job.model)), job, place)
    return SequenceRecommender(recipe, start=start, refit=refit, device=place.device, progress=False)


def of_world(checkpoint: Checkpoint, key: str) -> Checkpoint:
    """A checkpoint of several worlds side by side, with one world's items under the ids that they have in it alone."""
    prefix = f"{seed_of(key)}/"
    return replace(checkpoint, ids=[id.removeprefix(prefix) for id in checkpoint.ids])


def _limited(recipe: Recipe, job: Job, place: Place) -> Recipe:
    return replace(recipe, seed=job.seed, epochs=min(recipe.epochs, place.epochs or recipe.epochs))


@lru_cache(maxsize=2)
def _data(key: str, place: Place) -> tuple[Split, EvaluationQueries]:
    split = load_split(key, place.folder, place.data_dir, place.effort_name)
    return split, EvaluationQueries.of(split, place.effort.budget)


def digest(queries: EvaluationQueries) -> str:
    """Of the events tested on and of everything before them."""
    found = hashlib.sha256()
    for one in (queries.ranking, queries.actions):
        for values in (one.user, one.item, one.action, one.now_us, one.histories.log.item, one.histories.log.action):
            found.update(np.ascontiguousarray(values).tobytes())
    return found.hexdigest()[:12]


def _probabilities(model: PredictsActions, actions: Queries) -> Scores:
    parts = [slice(start, start + _BATCH) for start in range(0, len(actions), _BATCH)]
    return np.concatenate(
        [
            model.action_probabilities(
                actions.histories.take(part), actions.now_us[part], actions.device[part], actions.item[part]
            )
            for part in parts
        ]
    )


def _oracle(key: str, place: Place, actions: Queries) -> Scores:
    """The Bayes-optimal probabilities at the queries, float64 [n, 4]."""
    one = load_world(key, place.folder, place.effort_name)
    rows = {}
    for user in np.unique(actions.user):
        rows.update({prediction.row: prediction.actions for prediction in predict_user(one, int(user), frozenset())})
    return np.stack([rows[int(end)] for end in _log_rows(one.dataset.events.time_us, actions)])


def _log_rows(time_us: NDArray[np.int64], actions: Queries) -> NDArray[np.int64]:
    """The rows of the whole log at which the queries are: the first event after each history. A simulated user has no
    two events at once."""
    rows = actions.histories.ends
    assert (time_us[rows] == actions.now_us).all()
    return rows


def _actions(predicted: Scores, actions: Queries, arrays: Arrays) -> dict[str, float]:
    right = predicted.argmax(axis=1) == actions.action
    losses = metrics.log_losses(predicted, actions.action)
    arrays["right"], arrays["loss"] = right, losses.astype(np.float16)
    return {"accuracy": float(right.mean()), "log_loss": float(losses.mean())}
