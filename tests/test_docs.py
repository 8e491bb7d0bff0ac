"""Documentation: the index names each page, links lead somewhere, the picture is drawn."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.glob("*.md")), *sorted(ROOT.glob("*.md"))]


def links(page: Path) -> set[str]:
    """Return what a page links to, but for other hosts and its own parts."""
    found = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    return {link for link in found if not re.match(r"\w+:", link)}


def test_the_index_names_each_page() -> None:
    names = {page.name for page in DOCS.iterdir() if page.is_file()} - {"README.md"}
    assert names <= links(DOCS / "README.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_link_leads_to_a_file(page: Path) -> None:
    assert [link for link in links(page) if not (page.parent / link).exists()] == []


def test_the_picture_is_what_its_script_draws() -> None:
    drawn = runpy.run_path(str(ROOT / "scripts" / "architecture.py"))["picture"]()
    assert (DOCS / "images" / "architecture.svg").read_text() == drawn


@pytest.fixture(scope="module")
def commands() -> set[str]:
    """The names of scripts, and of what `python -m service` does."""
    done = subprocess.run(
        [sys.executable, "-m", "service", "--help"],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "200", "NO_COLOR": "1"},
        check=True,
        capture_output=True,
        text=True,
    )
    listed = set(re.findall(r"^[│ ]+([a-z-]+) ", done.stdout, re.MULTILINE))
    return listed | {path.stem for path in (ROOT / "scripts").iterdir()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_command_exists(page: Path, commands: set[str]) -> None:
    found = re.findall(r"(?:python -m service |scripts/)([\w-]+)", page.read_text())
    assert set(found) - commands == set()


def test_lines_of_the_changelog_are_short() -> None:
    lines = (ROOT / "CHANGELOG.md").read_text().splitlines()
    assert [line for line in lines if len(line) > 120] == []
