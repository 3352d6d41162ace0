"""Settings as the environment has them: read once, with what is misspelt refused and what is ignored reported."""

import os
from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from typing import Any

from runtime.deprecated_settings import replace_deprecated
from runtime.setting_fields import PREFIX, SettingsError, parsed, shown, variable
from runtime.settings import Settings

# Read by other commands (training's), and so no settings of the server, nor misspelt ones.
OF_OTHER_COMMANDS = frozenset({"VOWS_CACHE_DIR", "VOWS_TRAINING_DATA"})


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings in VOWS_* (and PORT). Raises SettingsError, naming the variable, for anything that cannot be used,
    and for what looks like a misspelt setting; other unknown variables are ignored, see `settings_notices`."""
    try:
        environ, _ = replace_deprecated(environ)
    except ValueError as error:
        raise SettingsError(str(error)) from None
    known = {variable(f.name): f for f in fields(Settings)}
    values: dict[str, Any] = {}
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in OF_OTHER_COMMANDS:
            continue
        if name not in known:
            if (near := _misspelt(name)) is None:
                continue  # `settings_notices` has a line about it
            raise SettingsError(f"{name} is not a setting; did you mean {near}?")
        values[known[name].name] = parsed(name, known[name], environ[name])
    if "port" not in values and environ.get("PORT"):
        values["port"] = parsed("PORT", known["VOWS_PORT"], environ["PORT"])
    return Settings(**values)


def settings_notices(environ: Mapping[str, str] = os.environ) -> list[str]:
    """A line for each deprecated name and for each VOWS_* variable that is ignored, to log at the start."""
    current, notices = replace_deprecated(environ)
    known = {variable(f.name) for f in fields(Settings)} | OF_OTHER_COMMANDS
    ignored = [name for name in sorted(current) if name.startswith(PREFIX) and name not in known]
    return notices + [f"{name} is not a setting and is ignored; see `vows-edge serve --help`" for name in ignored]


def settings_table() -> str:
    """The settings as a Markdown table; `docs/settings.md` is this and a test compares them."""
    lines = ["| variable | default | unit or values | what it is |", "|---|---|---|---|"]
    lines += [
        f"| `{variable(f.name)}` | `{shown(f.default)}` | {f.metadata['unit']} | {f.metadata['doc']} |"
        for f in fields(Settings)
    ]
    return "\n".join(lines) + "\n"


def _misspelt(name: str) -> str | None:
    """The setting that an unknown variable probably means. The prefix, which all share, does not count."""
    known = [f.name.upper() for f in fields(Settings)]
    near = get_close_matches(name.removeprefix(PREFIX), known, n=1, cutoff=0.7)
    return PREFIX + near[0] if near else None
