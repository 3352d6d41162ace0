"""Links of the documentation lead somewhere, and its lists are complete."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])

CODE = re.compile(r"```sh\n(.*?)```|`([^`\n]+)`", re.DOTALL)


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(file), f"{page.name} links to {target}"


def test_every_page_can_be_reached_from_the_readme():
    seen, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen:
            continue
        seen.add(page)
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            file = (page.parent / target).resolve()
            if file.is_dir():
                seen.update(file.glob("*.md"))
            elif file.suffix == ".md" and file.exists():
                waiting.append(file)
    assert set(PAGES) - seen == set()


def test_every_metric_is_documented(shared_server):
    shared_server.client.post("/embed", json={"text": "a barn"})
    exposed = re.findall(r"^# HELP (\S+) (.*)$", shared_server.client.get("/metrics").text, re.MULTILINE)
    current = {name for name, help in exposed if not help.startswith("Deprecated")}
    assert len(current) > 20
    documented = set(re.findall(r"`([a-z_]+)(?:\{[a-z,]+\})?`", (ROOT / "docs" / "operations.md").read_text()))
    assert current - documented == set()


def test_every_command_that_is_named_exists():
    """`make TARGET` and `vows-edge COMMAND`, wherever a page shows them as code."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    known = subprocess.run([sys.executable, "-m", "runtime", "--help"], capture_output=True, text=True, cwd=ROOT)
    commands = set(re.findall(r"^ {4}([a-z]+)\b", known.stdout, re.MULTILINE))
    assert {"run", "test"} <= targets
    assert {"serve", "doctor", "key"} <= commands
    for page in PAGES:
        code = "\n".join("".join(found) for found in CODE.findall(page.read_text(encoding="utf-8")))
        unknown = set(re.findall(r"^make ([a-z-]+)", code, re.MULTILINE)) - targets
        unknown |= set(re.findall(r"^(?:VOWS_\w+=\S+ )*vows-edge ([a-z]+)\b(?!-)", code, re.MULTILINE)) - commands
        assert unknown == set(), f"{page.name} names {unknown}"
