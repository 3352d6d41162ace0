"""The catalogue and the couples' journeys: the sample that the server's page loads."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import runtime

FOLDER = Path(runtime.__file__).parent / "page"

Item = dict[str, Any]  # one element of the catalogue: the body of PUT /content/{id}, with its id


@dataclass(frozen=True)
class Event:
    """Something a user did, `days_ago` days before the journey is played."""

    event_id: str
    days_ago: float
    type: str
    content_id: str

    def interaction(self, user_id: str, now: datetime) -> dict[str, str]:
        """The body of POST /interactions for this event. A replay keeps the event's id, so the server knows it."""
        return {
            "user_id": user_id,
            "content_id": self.content_id,
            "type": self.type,
            "timestamp": (now - timedelta(days=self.days_ago)).isoformat(),
            "event_id": self.event_id,
        }


@dataclass(frozen=True)
class Chapter:
    """Events that belong together; the ranking is looked at after each chapter."""

    title: str
    events: tuple[Event, ...]


@dataclass(frozen=True)
class Journey:
    """A couple. `styles`: name of a style → the tags whose items belong to it; the first is where they end up."""

    user_id: str
    name: str
    story: str
    styles: dict[str, list[str]]
    preferences: tuple[str, ...]
    chapters: tuple[Chapter, ...]

    @property
    def events(self) -> list[Event]:
        """The events of all chapters, oldest first."""
        return [event for chapter in self.chapters for event in chapter.events]

    def unseen(self, catalogue: list[Item]) -> list[str]:
        """Ids of the items that this couple never meets, in catalogue order: the same candidates at every stage."""
        met = {event.content_id for event in self.events}
        return [item["id"] for item in catalogue if item["id"] not in met]


def load_catalogue(path: Path = FOLDER / "wedding-catalogue.json") -> list[Item]:
    """The items of the catalogue, in file order."""
    items: list[Item] = json.loads(path.read_text(encoding="utf-8"))
    return items


def load_journeys(path: Path = FOLDER / "wedding-journeys.json") -> list[Journey]:
    """The couples, in file order."""
    return [_journey(raw) for raw in json.loads(path.read_text(encoding="utf-8"))]


def in_style(catalogue: list[Item], tags: list[str]) -> set[str]:
    """Ids of the items that carry at least one of `tags`."""
    return {item["id"] for item in catalogue if not set(tags).isdisjoint(item["tags"])}


def mean_place(ranked: list[str], ids: set[str]) -> float:
    """Mean place (1 is the top) of those of `ids` that are in `ranked`. Raises ValueError when none is."""
    places = [place for place, id in enumerate(ranked, 1) if id in ids]
    if not places:
        raise ValueError(f"none of the {len(ids)} ids is among the {len(ranked)} ranked ones")
    return sum(places) / len(places)


def _journey(raw: dict[str, Any]) -> Journey:
    chapters = tuple(
        Chapter(chapter["title"], tuple(Event(**event) for event in chapter["events"])) for chapter in raw["chapters"]
    )
    return Journey(**{**raw, "preferences": tuple(raw.get("preferences", ())), "chapters": chapters})
