"""The README's figures are between its marks, and nothing else of it changes."""

from bench import readme


def test_figures_replace_what_stood_between_the_marks(tmp_path):
    page = tmp_path / "README.md"
    page.write_text("# a\n<!-- figures: written -->\nold\n<!-- /figures -->\nend\n")
    for text in ("| 1 |\n", "| 2 |\n"):
        readme.write_figures(text, page)
        assert page.read_text() == f"# a\n<!-- figures: written -->\n\n{text}\n<!-- /figures -->\nend\n"


def test_the_readme_has_the_marks():
    assert readme._BLOCK.search(readme.README.read_text(encoding="utf-8"))
