"""Retired words stay out of the repository's text files, and module names can be guessed.

Each pattern names what to write instead. ALLOWED lists files that have to quote an old word.
"""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[1]
RETIRED = {
    r"\bfore(?:tell|told|tells|telling)\b": "predict, predicted",
    r"contenders?": "engine, recommender, baseline",
    r"never_gone": "never_disconnected",
    r"\b(?:going|goes|went|go) on from\b": "fine-tuning, incremental training, resumed from",
    r"\bgoing on (?:is|forgets|from|again)\b": "fine-tuning, incremental training",
    r"\b(?:arithmetic|float32|x) floor\b|ratio_to_floor|floor_ms": "fp32 roofline",
    r"lives_in_|\bdies by\b": "survived_, is OOM-killed by",
    r"says_when|\bsays when to come back\b": "Retry-After",
    r"\bfor want of\b": "capacity, deadline, authorization; because … is short",
    r"(?-i:\bomegas?\b)": "order strength ω",
    r"\b(?:is|are|was|were) told\b(?! (?:apart|from))": "reported, gets",
    r"\bheavy rooms?\b|\bcompute house\b|\bnaive twins?\b": "packages, reference implementation",
    r"\b(?:is|are|was|were) handed\b|\bhands (?:it|them|one|the \w+) to\b": "receives, passes",
    r"\bpays what it owes\b|\bwhat (?:it|is|was) owe[ds]\b": "pending, deferred",
    r"\bClientGone\b|\bgone\(\)|: Gone\b": "disconnected",
    r"\bforget_(?:user|unused|ids?)\b": "delete_",
    r"(?-i:\bMOMENT\b)|\bmoments\(": "query context",
    r"anyone-may-call|VOWS_WITHOUT_KEYS": "VOWS_AUTH",
    r"vows_requests_total|vows_request_seconds|vows_errors_total|vows_refusals_total|vows_held_bytes": "http_*",
    r"\bMB (?:of|are|is) 2\^20\b|\b256 MB\b": "MiB",
    r"\bwhom\b|\bhence\b|\bthereby\b|\bof late\b": "who, that; so; by it; recent",
    r"of nothing that is served": "(unmatched route)",
}
ALLOWED = {
    "tests/test_language.py",
    "LICENSE",
    "CHANGELOG.md",  # old names beside the new ones
    "runtime/deprecated_settings.py",
    "tests/runtime/test_deprecated_settings.py",
    "runtime/system/metrics.py",
    "runtime/api/operations.py",
    "tests/runtime/system/test_metrics.py",
    "checkpoints/reference/config.json",  # of format 1, too
}
TEXT = {".py", ".md", ".toml", ".txt", ".c", ".sh", ".js", ".css", ".html", ".json", ".ipynb", ".svg", ".yml", ""}
DATA = re.compile(
    r"requirements.*\.lock|runtime/bundles/.*|.*\.jsonl|.*/texts/.*|runtime/page/.*\.json|training/results\.json"
)
UNCLEAR_MODULES = {"util", "utils", "helper", "helpers", "common", "misc", "stuff", "lib", "shared"}


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split("\0") if name]


def retired_words(text: str) -> Iterator[str]:
    """For each retired word: its line and what to write instead."""
    for number, line in enumerate(text.splitlines(), 1):
        for pattern, instead in RETIRED.items():
            if found := re.search(pattern, line, re.IGNORECASE):
                yield f"line {number}: {found[0]!r}, write: {instead}"


def test_retired_words_do_not_occur():
    names = [name for name in tracked() if PurePosixPath(name).suffix in TEXT and not DATA.fullmatch(name)]
    assert len(names) > 300
    found = [
        f"{name}, {finding}"
        for name in names
        if name not in ALLOWED and (ROOT / name).is_file()
        for finding in retired_words((ROOT / name).read_text(encoding="utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "What can be foretold is not order.",
        "A contender that fails is a row.",
        "embed.ratio_to_floor.32",
        "Requests refused for want of room",
        "the client is told to wait",
        "The model is handed both.",
        "set VOWS_WITHOUT_KEYS=anyone-may-call",
        "vows_held_bytes 0",
        "sizes in MB of 2^20 bytes",
        "a machine of 256 MB",
        "except ClientGone:",
        "await forget_user(state, id)",
        "float32 [n, MOMENT]",
        "GET of nothing that is served",
    ],
)
def test_a_retired_word_is_found(text):
    (finding,) = list(retired_words(f"A line without any.\n{text}\n"))
    assert finding.startswith("line 2: ")


def test_plain_text_has_no_findings():
    text = "The dance floor. The handler is ongoing; a predicted baseline, rooms with a view, math.floor(x), MB, MiB."
    assert list(retired_words(text)) == []


def unclear_modules(names: list[str]) -> list[str]:
    paths = [PurePosixPath(name) for name in names if name.endswith(".py")]
    return [str(path) for path in paths if {path.stem, *path.parent.parts} & UNCLEAR_MODULES]


def test_module_names_say_what_they_hold():
    assert unclear_modules(["runtime/utils.py", "bench/common/http.py", "runtime/model.py"]) == [
        "runtime/utils.py",
        "bench/common/http.py",
    ]
    assert unclear_modules(tracked()) == []
