"""docs/requirements.md: each line names files and tests that there are; the card is kept."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

CARD_PACKAGES = {
    "starlette",
    "uvicorn",
    "psycopg[binary]",
    "psycopg-pool",
    "pydantic",
    "faker",
    "pytest",
    "locust",
}
CARD_TOP_LEVEL = {
    "service",
    "sql",
    "loadtest",
    "scripts",
    "tests",
    "client",
    "docker-compose.yml",
    "README.md",
}
USUAL = {
    "docs",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docker-compose.production.yml",
    "Dockerfile",
    "LICENSE",
    "pyproject.toml",
    "requirements.lock",
    "requirements-baselines.lock",
    "requirements-dev.lock",
    "requirements-embedded.lock",
    "requirements-otel.lock",
}

ROWS = [
    cells
    for line in (ROOT / "docs" / "requirements.md").read_text().splitlines()
    if line.startswith("| ") and not line.startswith("| asked for")
    for cells in [[cell.strip() for cell in line.strip("|").split("|")]]
]


def anchor(heading: str) -> str:
    """Return the name by which a link leads to a heading."""
    return re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-")


def test_each_line_has_a_place_and_a_test() -> None:
    assert len(ROWS) > 50
    for asked, where, shown in ROWS:
        assert asked
        assert "](" in where, asked
        tests = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", shown)
        assert tests, asked
        for path, name in tests:
            assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.M), name


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_each_link_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", document.read_text()):
        name, _, fragment = target.partition("#")
        linked = document.parent / name if name else document
        assert linked.exists(), target
        if fragment:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(), re.M)
            assert fragment in map(anchor, headings), target


def test_the_packages_of_the_card_are_used() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = project["project"]["dependencies"] + project["dependency-groups"]["dev"]
    assert {re.split("[>=;]", line)[0] for line in wanted} >= CARD_PACKAGES


def test_the_top_level_is_that_of_the_card() -> None:
    ignored = (ROOT / ".gitignore").read_text().split()
    found = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    found -= {name.strip("/") for name in ignored}
    assert found >= CARD_TOP_LEVEL
    assert found <= CARD_TOP_LEVEL | USUAL
