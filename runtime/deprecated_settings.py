"""Settings under names that they no longer have: they work for one more version, and the start of the server warns."""

from collections.abc import Mapping
from typing import NamedTuple


class Replacement(NamedTuple):
    """What a deprecated setting became: its new name, and its new values by the old ones."""

    name: str
    values: Mapping[str, str]


DEPRECATED = {
    "VOWS_WITHOUT_KEYS": Replacement("VOWS_AUTH", {"loopback-only": "loopback", "anyone-may-call": "disabled"}),
}


def replace_deprecated(environ: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The environment under the current names, and one notice for each deprecated name that was found in it.

    Raises ValueError where the old and the new name are both set, or where the old value is not one that it had.
    """
    current, notices = dict(environ), []
    for old, new in DEPRECATED.items():
        if old not in current:
            continue
        value = current.pop(old)
        if new.name in current:
            raise ValueError(f"{old} is the old name of {new.name}, and both are set: unset {old}")
        if value not in new.values:
            raise ValueError(
                f"{old}={value!r} is not one of {', '.join(new.values)}; it is now {new.name}, one of "
                f"{', '.join(new.values.values())}"
            )
        replacement = new.values[value]
        if old == "VOWS_WITHOUT_KEYS" and current.get("VOWS_API_KEYS"):
            replacement = "loopback"  # it said what to do without keys; with keys it never opened the server
        current[new.name] = replacement
        notices.append(f"{old} is deprecated and will be removed: set {new.name}={replacement} instead")
    return current, notices
