"""The users of a world: profiles, habits, onboarding texts and visits."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.personalization.sequence_features import DEVICES
from training.simulator.items import DAY_US, EPOCH_US, PALETTES, STYLES, style_traits
from training.simulator.parameters import CATEGORIES, Parameters

_HOUR_US = DAY_US // 24
_DEVICES = ("phone", "tablet", "desktop")
_DEVICE_SHARES = (0.6, 0.1, 0.3)


@dataclass(frozen=True, eq=False)
class Profiles:
    """taste float64 [profiles, taste_dimensions]; lasting: lasting category distribution, [profiles, categories]."""

    taste: NDArray[np.float64]
    lasting: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Users:
    """profile, rate, wedding_us int64 [users]; date_known bool [users]; onboarding: one text per user, or ""."""

    profile: NDArray[np.int64]
    rate: NDArray[np.int64]
    wedding_us: NDArray[np.int64]
    date_known: NDArray[np.bool_]
    onboarding: list[str]

    def __len__(self) -> int:
        return len(self.profile)


@dataclass(frozen=True, eq=False)
class Visits:
    """The sessions of all users as flat arrays, sorted by (user, start).

    user, impressions int64 [sessions]; start_us int64 [sessions]; device int8 [sessions].
    """

    user: NDArray[np.int64]
    start_us: NDArray[np.int64]
    impressions: NDArray[np.int64]
    device: NDArray[np.int8]


def make_profiles(parameters: Parameters, rng: np.random.Generator) -> Profiles:
    """Draw the kinds of users that there are: each user has the taste of one of them."""
    taste = rng.normal(size=(parameters.profiles, parameters.taste_dimensions))
    wishes = rng.normal(scale=parameters.profile_category_spread, size=(parameters.profiles, len(CATEGORIES)))
    lasting = np.exp(wishes)
    return Profiles(taste, lasting / lasting.sum(axis=1, keepdims=True))


def make_users(parameters: Parameters, profiles: Profiles, rng: np.random.Generator) -> tuple[Users, Visits]:
    """Draw the users, and for each the times and lengths of their visits."""
    n = parameters.users
    profile = rng.integers(parameters.profiles, size=n)
    rate = rng.choice(len(parameters.rate_shares), size=n, p=parameters.rate_shares)
    first_day = rng.uniform(0, 0.85 * parameters.days, size=n)
    horizon = parameters.horizon_days * rng.lognormal(0.0, 0.4, size=n)
    wedding_us = EPOCH_US + ((first_day + horizon) * DAY_US).astype(np.int64)
    users = Users(
        profile, rate, wedding_us, rng.random(n) < parameters.date_known,
        _onboarding(parameters, profiles.taste[profile], rng),
    )  # fmt: skip
    sessions = 2 + rng.poisson(parameters.sessions_mean - 2, size=n)
    user = np.repeat(np.arange(n), sessions)
    # Days of visits: uniform over the planning time, cut at the end of the world
    day = np.floor(first_day[user] + rng.random(len(user)) * horizon[user])
    device = rng.choice([DEVICES.index(name) for name in _DEVICES], size=len(user), p=_DEVICE_SHARES)
    hour = np.where(device == DEVICES.index("desktop"), rng.normal(15, 3, len(user)), rng.normal(20, 2.5, len(user)))
    start_us = EPOCH_US + (day * DAY_US).astype(np.int64) + (hour.clip(6, 23.4) * _HOUR_US).astype(np.int64)
    impressions = 3 + rng.geometric(1 / (parameters.impressions_mean - 2), size=len(user)) - 1
    order = np.lexsort((start_us, user))
    user, start_us, device, impressions = user[order], start_us[order], device[order], impressions[order].clip(max=30)
    # Two sessions of one evening would overlap: the earlier one stays
    apart = np.r_[True, (user[1:] != user[:-1]) | (start_us[1:] - start_us[:-1] > 2 * _HOUR_US)]
    kept = apart & (day[order] < parameters.days)
    return users, Visits(user[kept], start_us[kept], impressions[kept], device[kept].astype(np.int8))


def _onboarding(parameters: Parameters, taste: NDArray[np.float64], rng: np.random.Generator) -> list[str]:
    """Two styles and a palette: those the user likes best or, for some users, random ones."""
    of_style, of_palette, _ = style_traits(parameters)
    visible = taste[:, : parameters.visible_dimensions]
    styles = np.argsort(-visible @ of_style.T, axis=1)[:, :2]
    palettes = np.argmax(visible @ of_palette.T, axis=1)
    names = list(STYLES)
    texts = []
    for liked, palette in zip(styles, palettes, strict=True):
        states, truly = rng.random(2) < (parameters.states_preferences, parameters.states_truly)
        if not truly:
            liked, palette = rng.integers(len(names), size=2), rng.integers(len(PALETTES))
        texts.append(f"{names[liked[0]]}, {names[liked[1]]}, {PALETTES[palette]}" if states else "")
    return texts
