"""The wedding data is what it says: complete, consistent, short enough for the model; and the check itself can fail."""

import copy
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from examples.wedding.journeys import Item, Journey, in_style, load_catalogue, load_journeys

CATALOGUE = load_catalogue()
JOURNEYS = load_journeys()

FIELDS = {"id", "title", "description", "vendor_name", "tags", "images"}
REQUIRED = FIELDS - {"images"}
TYPES = {"view", "save", "share", "skip"}
MAX_WORDS = 120  # far below the model's 256 tokens: nothing in this catalogue is meant to be truncated


def item_problems(item: Item) -> list[str]:
    """What is wrong with one item, apart from the others."""
    problems = [f"{item.get('id')}: no {name}" for name in sorted(REQUIRED) if not item.get(name)]
    if problems:
        return problems
    id = item["id"]
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", id):
        problems.append(f"{id}: not a slug")
    if unknown := item.keys() - FIELDS:
        problems.append(f"{id}: unknown fields {sorted(unknown)}")
    texts = [item["title"], item["description"], item["vendor_name"], *item["tags"]]
    if any(text != " ".join(text.split()) or not text for text in texts):
        problems.append(f"{id}: blank text or stray white space")
    if (words := len(" ".join(texts).split())) > MAX_WORDS:
        problems.append(f"{id}: {words} words, more than {MAX_WORDS}")
    if len(item["tags"]) != len(set(item["tags"])) or len(item["tags"]) < 3:
        problems.append(f"{id}: fewer than three different tags")
    problems += [
        f"{id}: image {url}" for url in item.get("images", []) if not url.startswith("https://images.example/")
    ]
    return problems


def catalogue_problems(catalogue: list[Item]) -> list[str]:
    """What is wrong with the items, each and together."""
    problems = [problem for item in catalogue for problem in item_problems(item)]
    for field in ("id", "title", "description", "vendor_name"):
        counts = Counter(item.get(field) for item in catalogue)
        problems += [f"{field} {value!r} occurs {count} times" for value, count in counts.items() if count > 1]
    return problems


def journey_problems(journeys: list[Journey], catalogue: list[Item]) -> list[str]:
    """What is wrong with the couples: events that cannot be stored or out of order, or styles without candidates."""
    known = {item["id"] for item in catalogue}
    problems = []
    for field, values in (
        ("user_id", [journey.user_id for journey in journeys]),
        ("event_id", [event.event_id for journey in journeys for event in journey.events]),
    ):
        problems += [f"{field} {value} occurs {count} times" for value, count in Counter(values).items() if count > 1]
    for journey in journeys:
        who = journey.user_id
        problems += [f"{who}: no item {e.content_id}" for e in journey.events if e.content_id not in known]
        problems += [f"{who}: type {e.type}" for e in journey.events if e.type not in TYPES]
        ages = [event.days_ago for event in journey.events]
        if ages != sorted(ages, reverse=True):
            problems.append(f"{who}: the events are not in order of time")
        if any(age <= 0 for age in ages):
            problems.append(f"{who}: an event is not in the past")
        if not journey.events and not journey.preferences:
            problems.append(f"{who}: neither events nor preferences")
        candidates = set(journey.unseen(catalogue))
        problems += [
            f"{who}: fewer than four unseen items of style {style}"
            for style, tags in journey.styles.items()
            if len(in_style(catalogue, tags) & candidates) < 4
        ]
    return problems


def test_catalogue_is_valid() -> None:
    assert catalogue_problems(CATALOGUE) == []


def test_journeys_are_valid() -> None:
    assert journey_problems(JOURNEYS, CATALOGUE) == []


def test_catalogue_is_large_and_varied() -> None:
    assert len(CATALOGUE) >= 60
    kinds = Counter(item["tags"][0] for item in CATALOGUE)
    assert kinds["venue"] >= 15
    for kind in ("photographer", "florist", "wedding dress", "suit", "cake", "stationery", "catering", "band"):
        assert kinds[kind] >= 3, kind
    styles = Counter(tag for item in CATALOGUE for tag in item["tags"])
    for style in ("rustic", "classic", "boho", "minimalist", "coastal", "vintage", "industrial", "indian wedding"):
        assert styles[style] >= 6, style
    assert sum(bool(item.get("images")) for item in CATALOGUE) >= 5


def test_descriptions_are_written_not_generated() -> None:
    """No two share an opening of three words, and their lengths differ as people's do."""
    openings = Counter(" ".join(item["description"].split()[:3]).lower() for item in CATALOGUE)
    assert [opening for opening, count in openings.items() if count > 1] == []
    lengths = sorted(len(item["description"].split()) for item in CATALOGUE)
    assert lengths[0] < 20
    assert lengths[-1] > 45


def test_journeys_cover_every_source_of_a_user_vector() -> None:
    assert len(JOURNEYS) >= 5
    assert any(journey.preferences and not journey.events for journey in JOURNEYS)
    assert any(len(journey.chapters) > 1 for journey in JOURNEYS)
    assert {event.type for journey in JOURNEYS for event in journey.events} == TYPES


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda items: items.append(items[0]), "occurs 2 times"),
        (lambda items: items[3].pop("description"), "no description"),
        (lambda items: items[3].update(id="Not a slug"), "not a slug"),
        (lambda items: items[3].update(colour="red"), "unknown fields"),
        (lambda items: items[3].update(tags=["venue", "venue", "barn"]), "different tags"),
        (lambda items: items[3].update(description="word " * 300), "words"),
        (lambda items: items[3].update(title="Two  blanks"), "white space"),
        (lambda items: items[3].update(images=["https://somewhere.test/a.jpg"]), "image"),
    ],
)
def test_an_invalid_catalogue_is_noticed(spoil: Callable[[list[Item]], object], complaint: str) -> None:
    items = copy.deepcopy(CATALOGUE)
    spoil(items)
    assert complaint in "; ".join(catalogue_problems(items))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"content_id": "no-such-barn"}, "no item"),
        ({"type": "like"}, "type like"),
        ({"days_ago": 1000}, "not in order"),
        ({"days_ago": -1}, "not in the past"),
        ({"event_id": JOURNEYS[0].events[0].event_id}, "occurs 2 times"),
    ],
)
def test_an_invalid_journey_is_noticed(change: dict[str, object], complaint: str) -> None:
    first, *others = JOURNEYS
    chapter = first.chapters[-1]
    events = (*chapter.events[:-1], replace(chapter.events[-1], **change))
    spoilt = replace(first, chapters=(*first.chapters[:-1], replace(chapter, events=events)))
    assert complaint in "; ".join(journey_problems([spoilt, *others], CATALOGUE))


def test_a_journey_without_preferences_or_events_is_noticed() -> None:
    silent = replace(JOURNEYS[0], chapters=(), preferences=())
    assert "neither events nor preferences" in "; ".join(journey_problems([silent], CATALOGUE))
