"""What the doctor finds, line by line."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One line. `verdict`: "ok", "unsafe", or "" for what is good to know."""

    name: str
    found: str
    verdict: str = ""
