"""The compose file and the image's steps, as far as they can be tried without a Docker engine."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def test_the_compose_file_is_valid() -> None:
    parser = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run(
        [*parser, ROOT / "docker-compose.yml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_nothing_is_published_beyond_this_machine() -> None:
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert len(ports) == 4
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_database_is_pinned_and_new_enough() -> None:
    found = re.fullmatch(
        r"timescale/timescaledb:(\d+)\.(\d+)\.(\d+)-pg18", COMPOSE["services"]["db"]["image"]
    )
    assert found is not None
    assert tuple(map(int, found.groups())) >= (2, 26, 3)


def test_the_service_waits_for_the_database() -> None:
    assert COMPOSE["services"]["service"]["depends_on"]["db"]["condition"] == "service_healthy"


def stage(number: int, to: Path) -> None:
    """Do the COPY steps of a stage that copy from this folder."""
    lines = DOCKERFILE.split("\nFROM ")[number].splitlines()
    for line in lines:
        if line.startswith("COPY ") and "--from" not in line:
            _, source, target = line.split()
            place = to / (source if target == "." else target)
            place.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / source).is_dir():
                ignored = shutil.ignore_patterns("pglite", "__pycache__")
                shutil.copytree(ROOT / source, place, ignore=ignored)
            else:
                shutil.copy2(ROOT / source, place)


def allowed_in_the_context(name: str) -> bool:
    """Whether .dockerignore lets a file or folder of this folder in: the last match decides."""
    allowed = True
    for pattern in (ROOT / ".dockerignore").read_text().splitlines():
        wanted = pattern.removeprefix("!")
        if wanted == "*" or f"{name}/".startswith(f"{wanted}/"):
            allowed = pattern.startswith("!")
    return allowed


def test_what_is_copied_is_in_the_context() -> None:
    sources = re.findall(r"^COPY (?!--from)(\S+) ", DOCKERFILE, re.MULTILINE)
    assert len(sources) == 6
    for source in sources:
        assert allowed_in_the_context(source), source


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the image's steps make."""
    folder = tmp_path_factory.mktemp("image")
    stage(1, folder)
    subprocess.run(
        ["scripts/setup", "requirements.lock"],
        cwd=folder,
        env=os.environ | {"PYTHON": sys.executable},
        check=True,
    )
    stage(2, folder)
    return folder


def test_the_image_has_all_that_it_needs(image: Path, database_url: str) -> None:
    environment = os.environ | {"DATABASE_URL": database_url}
    python = image / ".venv" / "bin" / "python"
    commands = (
        ["-c", "from service import pages, server; pages.routes()"],
        ["-m", "service", "migrate"],
        ["scripts/generate_events.py", "--events", "100"],
    )
    for command in commands:
        done = subprocess.run(
            [python, *command],
            cwd=image,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
