"""What an interaction weighs: strength of its type, decayed by its age."""

import re
from functools import cache
from typing import Literal, NamedTuple

InteractionType = Literal["view", "save", "share", "skip"]

# Position is the code of a type in logs, features and the model's outputs: append, never reorder.
TYPES: tuple[InteractionType, ...] = ("skip", "view", "save", "share")

# Whole numbers, so that a sum of strengths (popularity) can be added to and taken from without error.
# A skip counts as an interaction and moves nothing; the sequence model learns from it.
STRENGTHS: dict[InteractionType, int] = {"view": 1, "save": 3, "share": 5, "skip": 0}

# By the code of a type.
CODES: dict[InteractionType, int] = {type: code for code, type in enumerate(TYPES)}
STRENGTH_OF_CODE = {code: STRENGTHS[type] for type, code in CODES.items()}
CODES_WITH_STRENGTH = [code for code, strength in STRENGTH_OF_CODE.items() if strength]

# A user is engaged by an action of this strength or more: a save or a share.
ENGAGED_STRENGTH = STRENGTHS["save"]

# Σ strength of one user's actions counts up to here in an experiment, so that no user outweighs the others.
MOST_WEIGHTED_ENGAGEMENT = 20

DECAY_PER_DAY = 0.01  # λ in exp(−λ·age_days): an interaction weighs half after 69 days

MICROSECONDS_PER_DAY = 86_400_000_000

MAX_STRENGTH = 1_000
MAX_OWN_TYPES = 64
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class EventType(NamedTuple):
    """A type of event by the name that clients send: the action that it is for models, and its strength."""

    name: str
    action: InteractionType
    strength: int


@cache
def event_types(text: str) -> dict[str, EventType]:
    """The four actions, and a site's own types as they are set: `purchase=share:10, like=save, hide=skip`, each with
    the action that it is for the models and, where it is another, its strength. Raises ValueError."""
    found = {name: EventType(name, name, STRENGTHS[name]) for name in ("view", "save", "share", "skip")}
    for part in filter(None, map(str.strip, text.split(","))):
        name, _, meaning = map(str.strip, part.partition("="))
        action, _, strength = map(str.strip, meaning.partition(":"))
        if not _NAME.fullmatch(name):
            raise ValueError(f"{part!r} has no name of letters, digits, _, . and - (64 at most), as in like=save")
        if name in found:
            raise ValueError(f"{name!r} is {'built in' if name in STRENGTHS else 'there twice'}: choose another name")
        if action not in STRENGTHS:
            raise ValueError(f"{part!r} maps to {action!r}, which is not one of view, save, share, skip")
        if strength and not (strength.isascii() and strength.isdigit() and int(strength) <= MAX_STRENGTH):
            raise ValueError(f"{part!r} has the strength {strength!r}, which is no whole number up to {MAX_STRENGTH}")
        weight = int(strength) if strength else STRENGTHS[action]
        if (weight == 0) != (STRENGTHS[action] == 0):
            raise ValueError(f"{part!r} has the strength {weight}: a skip has 0, and every other action 1 or more")
        found[name] = EventType(name, action, weight)
    if len(found) > MAX_OWN_TYPES + len(STRENGTHS):
        raise ValueError(f"{len(found) - len(STRENGTHS)} types are declared, the limit is {MAX_OWN_TYPES}")
    return found
