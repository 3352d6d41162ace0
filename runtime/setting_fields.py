"""How a setting is declared, and how a text in the environment becomes its value."""

import math
from collections.abc import Sequence
from dataclasses import Field, field
from typing import Any

PREFIX = "VOWS_"
MiB = 1 << 20
AUTO = -1  # of a number: chosen at start from the memory found, see runtime/sizing.py; "auto" in the environment


class SettingsError(Exception):
    """A setting is unknown or has a value that cannot be used. The message names it, the value and what is allowed."""


def setting(
    default: Any,
    unit: str,
    doc: str,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    kind: type | None = None,
    choices: Sequence[str] = (),
) -> Any:
    """A field with its documentation. kind: what a text in the environment becomes (default: the type of `default`)."""
    metadata = {"unit": unit, "doc": doc, "low": low, "high": high, "kind": kind or type(default), "choices": choices}
    return field(default=default, metadata=metadata)


def choice(default: str, choices: str, doc: str) -> Any:
    """A text that is one of `choices`, which are between commas."""
    return setting(default, choices, doc, choices=choices.split(", "))


def automatic(unit: str, doc: str, *, low: int, high: float = math.inf) -> Any:
    """A whole number that follows from the memory found unless it is set."""
    return setting(AUTO, unit, f"{doc} auto: from the memory found at start.", low=low, high=high)


def variable(name: str) -> str:
    """The environment variable of a field."""
    return PREFIX + name.upper()


def shown(default: object) -> object:
    """A default as the documentation has it."""
    return "none" if default in ("", None) else "auto" if default == AUTO else default


def parsed(name: str, setting: Field[Any], text: str) -> Any:
    """The value of a setting from the text of variable `name`. Raises SettingsError."""
    kind = setting.metadata["kind"]
    if setting.default == AUTO and text == "auto":
        return AUTO
    if kind not in (int, float):
        if not text:
            raise SettingsError(f"{name} is empty; unset it to use {setting.default or 'the default'}")
        return kind(text)
    try:
        value = kind(text)
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        raise SettingsError(f"{name}={text!r} is not {wanted} ({setting.metadata['unit']})") from None
    low, high = setting.metadata["low"], setting.metadata["high"]
    if not low <= value <= high:  # also refuses NaN
        raise SettingsError(f"{name}={text} is outside {low:g} to {high:g} ({setting.metadata['unit']})")
    return value


def check_choice(setting: Field[Any], value: object) -> None:
    """Raises SettingsError for a value that is not among those that were declared; for a setting without such: none."""
    choices = setting.metadata["choices"]
    if choices and value not in choices:
        raise SettingsError(f"{variable(setting.name)}={value!r} is not one of {', '.join(choices)}")
