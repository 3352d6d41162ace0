"""Links of the documentation lead somewhere, and its lists are complete."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])


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
