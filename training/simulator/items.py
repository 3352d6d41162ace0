"""The catalogue of a world: latent traits, texts that name some of them, popularity, births and withdrawals."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.simulator.parameters import CATEGORIES, Parameters

DAY_US = 86_400_000_000
EPOCH_US = 1_704_067_200_000_000  # 2024-01-01, the first day of every world

STYLES = {
    "rustic": ("weathered oak", "hay bales", "burlap", "a country barn"),
    "modern": ("clean lines", "glass and steel", "minimalist white", "a city loft"),
    "bohemian": ("macrame", "pampas grass", "free spirit", "barefoot"),
    "classic": ("timeless", "pearls and lace", "traditional", "black tie"),
    "glamorous": ("crystal", "sequins", "a grand ballroom", "gold leaf"),
    "coastal": ("sea breeze", "driftwood", "sandy toes", "ocean view"),
    "garden": ("climbing roses", "a greenhouse", "botanical", "under old trees"),
    "vintage": ("art deco", "antique brass", "retro", "grandmother's lace"),
}
PALETTES = ("blush and ivory", "emerald green", "navy blue", "burgundy and plum", "terracotta", "silver grey")
PRICES = ("budget friendly", "mid-range", "luxury")
_NOUNS = {
    "venue": "wedding venue", "photographer": "wedding photographer", "florist": "bridal bouquet and flowers",
    "dress": "wedding dress", "suit": "groom's suit", "catering": "wedding menu and catering", "cake": "wedding cake",
    "music": "live band for the reception", "invitations": "invitation cards", "decor": "table decoration",
    "rings": "wedding rings", "honeymoon": "honeymoon trip",
}  # fmt: skip
_OPENINGS = ("A", "Our favourite", "Couples love this", "New this season: a", "Real wedding:", "Award-winning")
_CLOSINGS = (
    "Available all year.", "Book a visit.", "Seen in a magazine.", "Made by hand.", "A family business.",
    "Free samples.", "Online consultation.", "Only a few dates left.",
)  # fmt: skip
_PLACES = (
    "Porto",
    "Lyon",
    "Austin",
    "Leeds",
    "Graz",
    "Turin",
    "Galway",
    "Kyoto",
    "Quebec",
    "Seville",
    "Bergen",
    "Pune",
)


@dataclass(frozen=True, eq=False)
class Items:
    """The items of a world.

    category int16, style int64 [items]; traits float64 [items, taste_dimensions], those that texts name first; quality
    and log_popularity float64 [items]; born_us, withdrawn_us int64 [items]; texts [items].
    """

    category: NDArray[np.int16]
    style: NDArray[np.int64]
    traits: NDArray[np.float64]
    quality: NDArray[np.float64]
    log_popularity: NDArray[np.float64]
    born_us: NDArray[np.int64]
    withdrawn_us: NDArray[np.int64]
    texts: list[str]

    def __len__(self) -> int:
        return len(self.category)

    def alive(self, times_us: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which items can be shown at each time, bool [times, items]."""
        return (self.born_us <= times_us[:, None]) & (times_us[:, None] < self.withdrawn_us)


def style_traits(parameters: Parameters) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Visible traits of styles, palettes and prices, [names, visible_dimensions] each: the same in every world."""
    rng = np.random.default_rng(20240101)
    dimensions = parameters.visible_dimensions
    return (
        rng.normal(size=(len(STYLES), dimensions)),
        0.5 * rng.normal(size=(len(PALETTES), dimensions)),
        0.4 * rng.normal(size=(len(PRICES), dimensions)),
    )


def make_items(parameters: Parameters, rng: np.random.Generator) -> Items:
    """Sample a catalogue."""
    n = parameters.items
    category = rng.permutation(np.arange(n) % len(CATEGORIES)).astype(np.int16)
    style, palette, price = (rng.integers(len(names), size=n) for names in (STYLES, PALETTES, PRICES))
    of_style, of_palette, of_price = style_traits(parameters)
    visible = _standard(of_style[style] + of_palette[palette] + of_price[price])
    hidden = _standard(rng.normal(size=(n, parameters.hidden_dimensions)))
    # Σ over dimensions of a unit-variance taste times these has variance visible_share + (1 − visible_share) = 1
    traits = np.hstack(
        [
            visible * np.sqrt(parameters.visible_share / parameters.visible_dimensions),
            hidden * np.sqrt((1 - parameters.visible_share) / parameters.hidden_dimensions),
        ]
    )
    log_popularity = -parameters.zipf * np.log(rng.permutation(n) + 1.0)
    quality = 0.6 * _standard(log_popularity) + 0.8 * rng.normal(size=n)
    period_us = int(parameters.days * DAY_US)
    born_us = np.where(rng.random(n) < parameters.born_later, rng.integers(period_us, size=n), -DAY_US) + EPOCH_US
    lives_us = rng.integers(period_us // 4, period_us, size=n)
    withdrawn_us = np.where(rng.random(n) < parameters.withdrawn, born_us + lives_us, np.iinfo(np.int64).max)
    texts = [_text(c, s, p, q, rng) for c, s, p, q in zip(category, style, palette, price, strict=True)]
    return Items(category, style, traits, quality, log_popularity, born_us, withdrawn_us, texts)


def _text(category: int, style: int, palette: int, price: int, rng: np.random.Generator) -> str:
    name = list(STYLES)[style]
    detail = STYLES[name][rng.integers(4)]
    noun = _NOUNS[CATEGORIES[category]]
    opening, closing, place = (words[rng.integers(len(words))] for words in (_OPENINGS, _CLOSINGS, _PLACES))
    return f"{opening} {name} {noun} with {detail}, {PALETTES[palette]}, {PRICES[price]}, {place}. {closing}"


def _standard(values: NDArray[np.float64]) -> NDArray[np.float64]:
    scaled: NDArray[np.float64] = (values - values.mean(axis=0)) / values.std(axis=0)
    return scaled
