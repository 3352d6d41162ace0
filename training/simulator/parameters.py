"""Every number of the simulator. Fixed before any model was fitted to it; worlds differ by their seed alone."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CATEGORIES = (
    "venue", "photographer", "florist", "dress", "suit", "catering", "cake", "music", "invitations", "decor",
    "rings", "honeymoon",
)  # fmt: skip
PHASES = ("dreaming", "venue and date", "vendors", "attire and rings", "details")

# What a phase asks for, 0 (not now) to 3 (first of all): a row a phase, a column a category.
PHASE_NEEDS = np.array(
    [
        [2, 1, 1, 2, 0, 0, 0, 0, 0, 2, 1, 2],
        [3, 1, 0, 0, 0, 2, 0, 1, 0, 0, 0, 0],
        [0, 3, 2, 0, 0, 2, 1, 2, 0, 1, 0, 0],
        [0, 0, 0, 3, 2, 0, 0, 0, 1, 0, 3, 1],
        [0, 0, 2, 0, 1, 0, 2, 1, 3, 2, 0, 2],
    ],
    float,
)  # [phases, categories]

# Whoever settled the first goes on to the others.
COMPLEMENTS = {
    "venue": ("photographer", "florist", "catering"),
    "photographer": ("florist", "music"),
    "florist": ("decor", "cake"),
    "dress": ("suit", "rings"),
    "suit": ("rings", "dress"),
    "catering": ("cake", "music"),
    "cake": ("decor", "invitations"),
    "music": ("decor", "invitations"),
    "invitations": ("florist", "honeymoon"),
    "decor": ("invitations", "florist"),
    "rings": ("honeymoon", "suit"),
    "honeymoon": ("dress", "rings"),
}

# Days before the wedding at which half of the couples have left the phase; the last phase is not left.
PHASE_LEAVES_AT_DAYS = (300.0, 220.0, 140.0, 60.0)


def complement_matrix() -> NDArray[np.float64]:
    """Probability of the next category after one was settled: rows sum to one, [categories, categories]."""
    matrix = np.zeros((len(CATEGORIES), len(CATEGORIES)))
    for settled, following in COMPLEMENTS.items():
        for name in following:
            matrix[CATEGORIES.index(settled), CATEGORIES.index(name)] = 1 / len(following)
    return matrix


@dataclass(frozen=True)
class Parameters:
    """One kind of world.

    omega  how much order matters, 0 to 1. At 0 every impression draws its intent afresh from tastes that never change
           and past events touch nothing, so the actions of a user are exchangeable; at 1 sessions have intents, intents
           follow phases, deadlines, what is settled and what completes it.
    """

    omega: float = 1.0
    users: int = 1_500
    items: int = 480
    days: float = 365.0

    # Tastes. Profiles are a finite set, so that the filter can be exact.
    profiles: int = 128
    visible_dimensions: int = 4
    hidden_dimensions: int = 4
    visible_share: float = 0.75  # of the variance of taste · item that lies in what the texts name
    profile_category_spread: float = 1.0  # standard deviation of the log-odds of a profile's lasting category wishes

    # Utility of an item shown: its sum goes through an ordered logit.
    sharpness: float = 8.0  # 1 / scale of the logistic noise
    base: float = -0.15
    on_intent: float = 0.9  # added when the item is of the category looked for, subtracted when it is not
    taste: float = 0.6
    quality: float = 0.25
    seen_skipped: float = -0.4  # the three below are scaled by omega
    seen_viewed: float = 0.5
    seen_saved: float = -0.9
    device_effect: tuple[float, ...] = (0.0, -0.06, 0.0, 0.12, 0.0)  # by code of DEVICES
    evening: float = 0.06  # times the cosine of the hour's distance from 21:00
    # View to save and save to share: how much more utility each takes, for users who save freely, usually, seldom.
    save_steps: tuple[float, ...] = (0.45, 0.85, 1.5)
    share_steps: tuple[float, ...] = (0.5, 0.8, 1.2)
    rate_shares: tuple[float, ...] = (0.3, 0.45, 0.25)
    slate: int = 8
    unexamined_per_place: float = 0.012  # the n-th place of a slate is overlooked with n times this probability

    # Intent.
    phase_strength: float = 1.3
    complement_strength: float = 2.0
    satiation: float = 3.0
    hop: float = 0.6  # after a save or share in a session: move on to what completes it
    drift: float = 0.03  # per impression: the intent is drawn anew
    advance: float = 0.5  # steepest chance of leaving a phase, per session
    pressure_days: float = 40.0  # how sharply the deadline acts
    back_jump: float = 0.05

    # What is shown: the user opens the page of a category, or scrolls a feed; both ranked by the logging policy.
    category_page: float = 0.55
    random_share: float = 0.2
    policy_cosine: float = 4.0
    policy_popularity: float = 0.5
    zipf: float = 0.9
    born_later: float = 0.25
    withdrawn: float = 0.2

    # Visits.
    sessions_mean: float = 14.0
    impressions_mean: float = 8.0
    horizon_days: float = 200.0
    date_known: float = 0.8
    states_preferences: float = 0.7
    states_truly: float = 0.85

    def __post_init__(self) -> None:
        if not 0 <= self.omega <= 1:
            raise ValueError(f"omega is {self.omega}, it goes from 0 to 1")
        if self.items < 4 * len(CATEGORIES):
            raise ValueError(f"{self.items} items for {len(CATEGORIES)} categories; give each at least 4")

    @property
    def taste_dimensions(self) -> int:
        return self.visible_dimensions + self.hidden_dimensions
