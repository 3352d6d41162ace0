"""Every number of the simulator. Fixed before any model was fitted to it; worlds differ only by their seed."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

CATEGORIES = (
    "venue", "photographer", "florist", "dress", "suit", "catering", "cake", "music", "invitations", "decor",
    "rings", "honeymoon",
)  # fmt: skip
PHASES = ("dreaming", "venue and date", "vendors", "attire and rings", "details")

# Need for each category (column) in each phase (row), 0 (not now) to 3 (most urgent).
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

# Complements: categories that users turn to once they have settled the first.
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

UTILITY_FORMS = ("linear", "weakest")

# Days before the wedding at which half of the couples have left the phase; the last phase is not left.
PHASE_LEAVES_AT_DAYS = (300.0, 220.0, 140.0, 60.0)


@lru_cache
def phase_needs(laws: int) -> NDArray[np.float64]:
    """[phases, categories]: PHASE_NEEDS for laws 0; for others its columns in an order drawn from that seed."""
    if laws == 0:
        return PHASE_NEEDS
    permuted: NDArray[np.float64] = PHASE_NEEDS[:, np.random.default_rng((laws, 0)).permutation(len(CATEGORIES))]
    return permuted


@lru_cache
def complement_matrix(laws: int = 0) -> NDArray[np.float64]:
    """P(next category | category settled), rows summing to one: [categories, categories]. COMPLEMENTS for laws 0; for
    others with the categories renamed in an order drawn from that seed."""
    matrix = np.zeros((len(CATEGORIES), len(CATEGORIES)))
    for settled, following in COMPLEMENTS.items():
        for name in following:
            matrix[CATEGORIES.index(settled), CATEGORIES.index(name)] = 1 / len(following)
    if laws == 0:
        return matrix
    order = np.random.default_rng((laws, 1)).permutation(len(CATEGORIES))
    return matrix[np.ix_(order, order)]


@dataclass(frozen=True)
class Parameters:
    """The parameters of a world.

    order_strength: ω, how much order matters, 0 to 1. At 0 every impression draws its intent anew from tastes that
    never change, and past events change nothing, so the actions of a user are exchangeable. At 1 sessions have intents,
    and intents follow phases, deadlines, what is settled and its complements.

    laws: which categories a phase needs and which complete each other: 0 as above, any other number permutes both.
    utility_form: how an item's traits become utility, "linear" (taste · traits, as the sequence model assumes) or
    "weakest" (the two traits that suit the user least decide: a conjunctive rule, after Coombs 1964).
    """

    order_strength: float = 1.0
    laws: int = 0
    utility_form: str = "linear"
    users: int = 1_500
    items: int = 480
    days: float = 365.0

    # Tastes. Profiles are a finite set, so that the oracle can be exact.
    profiles: int = 128
    visible_dimensions: int = 4
    hidden_dimensions: int = 4
    visible_share: float = 0.75  # of the variance of taste · traits that is in traits named by the texts
    profile_category_spread: float = 1.0  # standard deviation of the log-odds of a profile's lasting category wishes

    # Utility of an item shown: its sum goes through an ordered logit.
    sharpness: float = 8.0  # 1 / scale of the logistic noise
    base: float = -0.15
    on_intent: float = 0.9  # added for items of the category looked for, subtracted for others
    taste: float = 0.6
    quality: float = 0.25
    seen_skipped: float = -0.4  # these three are scaled by order_strength
    seen_viewed: float = 0.5
    seen_saved: float = -0.9
    device_effect: tuple[float, ...] = (0.0, -0.06, 0.0, 0.12, 0.0)  # by code of DEVICES
    freshness: float = 0.0  # added for an item that just appeared; halves every `fresh_hours`
    fresh_hours: float = 12.0
    evening: float = 0.06  # times the cosine of the hour's distance from 21:00
    # Additional utility for a save after a view and a share after a save, for users who save often, sometimes, seldom.
    save_steps: tuple[float, ...] = (0.45, 0.85, 1.5)
    share_steps: tuple[float, ...] = (0.5, 0.8, 1.2)
    rate_shares: tuple[float, ...] = (0.3, 0.45, 0.25)
    slate: int = 8
    unexamined_per_place: float = 0.012  # the n-th place of a slate is not examined with n times this probability

    # Intent.
    phase_strength: float = 1.3
    complement_strength: float = 2.0
    satiation: float = 3.0
    hop: float = 0.6  # after a save or share in a session: probability to move on to a complement
    drift: float = 0.03  # per impression: probability of a new intent
    advance: float = 0.5  # steepest chance of leaving a phase, per session
    pressure_days: float = 40.0  # width of the deadline's effect
    back_jump: float = 0.05

    # Surfaces: the user opens the page of a category or scrolls a feed, both ranked by the logging policy.
    category_page: float = 0.55
    random_share: float = 0.2
    policy_cosine: float = 4.0
    policy_popularity: float = 0.5
    policy_freshness: float = 0.0  # log popularity added for an item that just appeared
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
        if not 0 <= self.order_strength <= 1:
            raise ValueError(f"order_strength is {self.order_strength}, it has to be from 0 to 1")
        if self.utility_form not in UTILITY_FORMS:
            raise ValueError(f"utility_form is {self.utility_form!r}, it has to be one of {', '.join(UTILITY_FORMS)}")
        if self.items < 4 * len(CATEGORIES):
            raise ValueError(f"{self.items} items for {len(CATEGORIES)} categories; give each at least 4")

    def describe(self) -> str:
        """What tells this world from others, in words for names of data sets."""
        words = [f"order strength {self.order_strength:g}"]
        words += [f"laws {self.laws}"] if self.laws else []
        words += [f"utility by the {self.utility_form} traits"] if self.utility_form != "linear" else []
        words += [f"freshness {self.freshness:g}"] if self.freshness else []
        return ", ".join(words)

    @property
    def taste_dimensions(self) -> int:
        """Visible and hidden dimensions together."""
        return self.visible_dimensions + self.hidden_dimensions
