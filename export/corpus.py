"""The texts for calibration and tests: two hand-written files in this package.

`calibration.txt` sets the scales and `held_out.txt` tests them; no line is in both. Catalogue texts, reviews,
questions, news, manuals, code, other languages and noise, one per line. Longer texts are runs of neighbouring lines.
"""

from functools import cache
from importlib import resources

# Lines joined into one text: a short description, a page, and more than the model's 256 tokens.
_RUNS = (4, 12, 40)


def calibration_texts() -> list[str]:
    """Texts of 3 to more than 256 tokens, to take scales from."""
    return _with_runs(_lines("calibration.txt"))


def held_out_texts() -> list[str]:
    """Texts of 3 to more than 256 tokens that no scale was taken from."""
    return _with_runs(_lines("held_out.txt"))


@cache
def _lines(name: str) -> tuple[str, ...]:
    content = resources.files("export").joinpath("texts", name).read_text(encoding="utf-8")
    return tuple(line for line in content.splitlines() if line)


def _with_runs(lines: tuple[str, ...]) -> list[str]:
    texts = list(lines)
    for length in _RUNS:
        # Half-overlapping, so that each line is also seen in the middle of a text.
        starts = range(0, len(lines) - length + 1, max(length // 2, 1))
        texts.extend(" ".join(lines[start : start + length]) for start in starts)
    return texts
