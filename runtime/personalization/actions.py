"""What an interaction weighs: strength of its type, decayed by its age."""

from typing import Literal

InteractionType = Literal["view", "save", "share", "skip"]

# Position is the code of a type in logs, features and the model's outputs: append, never reorder.
TYPES: tuple[InteractionType, ...] = ("skip", "view", "save", "share")

# Whole numbers, so that a sum of strengths (popularity) can be added to and taken from without error.
# A skip counts as an interaction and moves nothing; the sequence model learns from it.
STRENGTHS: dict[InteractionType, int] = {"view": 1, "save": 3, "share": 5, "skip": 0}

# A user is engaged by an action of this strength or more: a save or a share.
ENGAGED_STRENGTH = STRENGTHS["save"]

# Σ strength of one user's actions counts up to here in an experiment, so that no user outweighs the others.
MOST_WEIGHTED_ENGAGEMENT = 20

DECAY_PER_DAY = 0.01  # λ in exp(−λ·age_days): an interaction weighs half after 69 days

MICROSECONDS_PER_DAY = 86_400_000_000
