"""Published sequence models: they learn an order, and are what their papers and RecTools say."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.small_world import small_world, split
from tests.training.datasets import random_dataset
from training.data.events import SKIP, VIEW, Dataset, Histories
from training.data.split import log_of
from training.evaluation import metrics
from training.evaluation.baselines import Popularity
from training.evaluation.baselines.tuned import validation_ndcg, validation_queries
from training.evaluation.queries import sample_queries
from training.evaluation.ranking import rank_targets
from training.published import parity
from training.published.model import LOSSES, PUBLISHED, WITH_TEXT, PublishedConfig, PublishedModel
from training.published.recommender import PublishedRecommender

EVERY = [*PUBLISHED, WITH_TEXT]
NAMES = [one.name for one in EVERY]


def small(config: PublishedConfig) -> PublishedConfig:
    return replace(config, width=16, length=16, negatives=8, batch=16, learning_rate=1e-2, dropout=0.0, epochs=15)


@pytest.fixture(scope="module")
def parts() -> tuple[Dataset, Dataset]:
    return split(small_world())


@pytest.mark.parametrize("config", EVERY, ids=NAMES)
def test_it_learns_an_order_that_popularity_cannot_know(
    config: PublishedConfig, parts: tuple[Dataset, Dataset]
) -> None:
    train, held_out = parts
    queries = sample_queries(log_of(train, held_out), held_out, per_user=5, at_most=200, engaged_only=True)
    model, popular = PublishedRecommender(small(config)), Popularity()
    model.train_for(train, 60)
    popular.fit(train, train.with_events(train.events.take(slice(0, 0))))
    ours, theirs = (
        metrics.ndcg(rank_targets(one, train, queries, without_seen=False), 10).mean() for one in (model, popular)
    )
    assert ours > theirs + 0.05, (ours, theirs)


@pytest.mark.parametrize("config", PUBLISHED, ids=NAMES[:-1])
def test_a_state_does_not_depend_on_later_events_nor_on_how_long_the_padding_is(config: PublishedConfig) -> None:
    torch.manual_seed(0)
    model = PublishedModel(small(config), torch.zeros(20, 1), torch.ones(20, dtype=torch.bool)).eval()
    item = torch.randint(1, 21, (3, 16))
    times = torch.randint(1, 10**6, (3, 17)).cumsum(1)
    changed, later = item.clone(), times.clone()
    changed[:, 9:] = 21 - changed[:, 9:]
    later[:, 10:] += 10**7
    with torch.inference_mode():
        before, after = (model(one, when, model.items())[:, :9] for one, when in ((item, times), (changed, later)))
    torch.testing.assert_close(before, after)


@pytest.mark.parametrize("config", [WITH_TEXT, replace(WITH_TEXT, loss="softmax")], ids=["sampled", "full softmax"])
def test_an_item_that_training_never_met_is_no_negative_and_is_known_by_its_text(config: PublishedConfig) -> None:
    """As a negative in every step and a target in none, its score would fall for as long as training goes on."""
    torch.manual_seed(0)
    content = F.normalize(torch.randn(20, 6), dim=1)
    met = torch.arange(20) < 12
    model = PublishedModel(replace(small(config), id_dropout=0.0), content, met)
    item, times = torch.randint(1, 13, (4, 16)), torch.arange(17).expand(4, 17)
    model.loss(item, times, item.roll(-1, 1)).backward()  # type: ignore[no-untyped-call]
    gradient = model.item.weight.grad
    assert gradient is not None
    assert (gradient[1:13] != 0).any(dim=1).all()
    assert (gradient[13:] == 0).all()
    assert model.read is not None
    torch.testing.assert_close(model.items()[13:], model.read(model.content)[13:])


def test_an_item_without_an_id_is_told_from_others_by_its_text_before_any_training() -> None:
    """Texts of one catalogue are alike: their differences must not drown in the position embedding."""
    torch.manual_seed(0)
    content = F.normalize(2 * torch.randn(384) + torch.randn(200, 384), dim=1)
    model = PublishedModel(replace(WITH_TEXT, length=16), content, torch.arange(200) < 100).eval()
    item, times = torch.randint(101, 201, (64, 16)), torch.arange(17).expand(64, 17)
    with torch.inference_mode():
        items = model.items()
        scores = model.scores(model(item, times, items)[:, -1], items)
    read_last = scores[:, 1:].argmax(dim=1) + 1 == item[:, -1]
    assert read_last.float().mean() > 0.5  # 0.03 without the scale


def test_what_a_user_reads_next_is_found_by_its_text_though_it_was_never_met() -> None:
    """Users who keep to one topic each: new items of that topic come before all others."""
    rng = np.random.default_rng(0)
    topics, per_topic, users, events = 8, 30, 80, 12
    topic = np.repeat(np.arange(topics), per_topic)
    old = np.tile(np.arange(per_topic) < 20, topics)
    vectors = np.eye(topics)[topic] + 0.3 * rng.standard_normal((len(topic), topics))
    log = random_dataset(0, users=users, items=len(topic), events=users * events)
    item = np.concatenate([rng.choice(np.flatnonzero(old & (topic == user % topics)), events) for user in range(users)])
    n = np.arange(users * events)
    log = replace(
        log,
        catalogue=replace(log.catalogue, vectors=vectors.astype(np.float32)),
        events=replace(
            log.events, user=(n // events).astype(np.int32), item=item.astype(np.int32), time_us=n * 60_000_000,
            action=np.full(len(n), VIEW, log.events.action.dtype),
        ),
    )  # fmt: skip
    model = PublishedRecommender(small(WITH_TEXT))
    model.train_for(log, 10)
    starts = log.starts
    histories = Histories(log.events, starts[:-1], starts[1:], np.arange(users, dtype=np.int32), log.events)
    scores = model.item_scores(histories, np.full(users, log.events.time_us.max() + 1), np.zeros(users, np.int8))
    mine = topic == np.arange(users)[:, None] % topics
    others = np.where(mine, -np.inf, scores).max(axis=1, keepdims=True)
    assert (scores > others)[mine & ~old].mean() > 0.5  # of all others: 0.2 with items that were never met as negatives


def test_only_engaged_events_are_read_and_an_empty_history_is_ranked_by_popularity(
    parts: tuple[Dataset, Dataset],
) -> None:
    train, _ = parts
    model = PublishedRecommender(small(PUBLISHED[0]))
    model.train_for(train, 1)
    starts = train.starts
    histories = Histories(
        train.events, starts[:2], np.r_[starts[1], starts[1]], np.arange(2, dtype=np.int32), train.events
    )
    now = np.full(2, train.events.time_us.max() + 1)
    scores = model.item_scores(histories, now, np.zeros(2, np.int8))
    shown = train.events.action.copy()
    skipped = np.flatnonzero(shown == SKIP)
    item = train.events.item.copy()
    item[skipped] = 0
    other = replace(train.events, item=item)
    same = model.item_scores(replace(histories, events=other), now, np.zeros(2, np.int8))
    np.testing.assert_array_equal(scores, same)
    popular = np.bincount(train.events.item[shown != SKIP], minlength=len(train.catalogue))
    assert (np.argsort(-scores[1], kind="stable") == np.argsort(-popular, kind="stable")).all()


def test_fit_selects_epochs_on_validation(parts: tuple[Dataset, Dataset]) -> None:
    train, validation = parts
    model = PublishedRecommender(replace(small(PUBLISHED[0]), epochs=10))
    model.fit(train, validation)
    assert model.choice["epochs"] in (5, 10)
    assert model.settings_tried == 2


def test_without_a_refit_the_weights_of_the_selected_epoch_are_kept(parts: tuple[Dataset, Dataset]) -> None:
    train, validation = parts
    config = replace(small(PUBLISHED[0]), epochs=10)
    selected, again = PublishedRecommender(config, refit=False), PublishedRecommender(config)
    selected.fit(train, validation)
    again.train_for(train, selected.choice["epochs"])
    queries = validation_queries(train, validation)
    assert validation_ndcg(selected, train, queries) == validation_ndcg(again, train, queries)


def test_gbce_equals_its_definition() -> None:
    """As in the paper: −log σ(s⁺)^β − Σ log(1 − σ(s⁻)), and β 1 for calibration 0."""
    logits = torch.randn(50, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    items, t = 101, 0.75
    alpha = 8 / 100
    beta = alpha * (t * (1 - 1 / alpha) + 1 / alpha)
    positive, negative = torch.sigmoid(logits[:, 0]), torch.sigmoid(logits[:, 1:])
    naive = (-torch.log(positive**beta) - torch.log(1 - negative).sum(1)).mean() / 9
    torch.testing.assert_close(LOSSES["gbce"](logits, items, t), naive)
    target = F.pad(torch.ones(50, 1, dtype=torch.float64), (0, 8))
    plain = F.binary_cross_entropy_with_logits(logits, target)
    torch.testing.assert_close(LOSSES["gbce"](logits, items, 0.0), plain)


def test_the_models_are_those_of_rectools_up_to_rounding() -> None:
    """The kept comparison has every model, and its page is generated from it."""
    kept = parity.read()
    weights = {one.model: one for one in kept}
    assert set(weights) == {config.name for config in PUBLISHED}
    assert all(one.scores < 1e-4 * max(one.scale, 1) and one.losses < 1e-5 for one in weights.values())
    assert (parity.FOLDER / parity.PAGE).read_text() == parity.page(kept)
