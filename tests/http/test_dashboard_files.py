"""GET /dashboard/: the files of its page, what it takes of others, and nothing else."""

import json
import re
import subprocess
from pathlib import Path

import httpx
import pytest

from service.pages import CLIENT
from tests.http.support import assert_problem
from tests.support.services import ROOT

FILES = sorted(path.relative_to(CLIENT) for path in (CLIENT / "dashboard").iterdir())
VENDOR = CLIENT / "vendor"
VENDORED = sorted(path.relative_to(VENDOR) for path in VENDOR.glob("*/*"))


@pytest.mark.parametrize("name", FILES, ids=str)
def test_a_file_is_served_and_may_load_only_what_is_the_services_own(
    service: httpx.Client, name: Path
) -> None:
    answer = service.get(f"/{name}")
    assert answer.content == (CLIENT / name).read_bytes()
    assert answer.headers["cache-control"] == "no-cache"
    policy = answer.headers["content-security-policy"].split("; ")
    assert "default-src 'none'" in policy
    assert all("unsafe" not in part and "http" not in part for part in policy)


@pytest.mark.parametrize("name", VENDORED, ids=str)
def test_what_is_of_others_is_served(service: httpx.Client, name: Path) -> None:
    assert service.get(f"/dashboard/vendor/{name}").content == (VENDOR / name).read_bytes()


def test_the_path_leads_to_the_page_with_its_query(service: httpx.Client) -> None:
    answer = service.get("/dashboard?range=7d&tz=Europe/Berlin")
    assert answer.status_code == 307
    assert answer.headers["location"] == "/dashboard/?range=7d&tz=Europe/Berlin"
    assert service.get("/dashboard").headers["location"] == "/dashboard/"
    assert service.get("/dashboard/").headers["content-type"].startswith("text/html")


@pytest.mark.parametrize(
    "path",
    ["vendor", "vendor/", "vendor/..%2f..%2fREADME.md", "..%2fdemo.js", "x.js", "vendor/x/y"],
)
def test_what_is_not_there_is_404(service: httpx.Client, path: str) -> None:
    assert_problem(service.get(f"/dashboard/{path}"), 404)


def test_every_package_has_its_licence_and_a_hash() -> None:
    packages = json.loads((VENDOR / "package-lock.json").read_text())["packages"]
    del packages[""]
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())
    served = {
        name.removeprefix("node_modules/")
        for name, package in packages.items()
        if not package.get("dev")
    }
    assert served == {path.name for path in VENDOR.iterdir() if path.is_dir()}
    for name in served:
        assert (VENDOR / name / "LICENSE").is_file()


def test_what_is_of_others_is_as_they_published_it(tmp_path: Path) -> None:
    subprocess.run([ROOT / "scripts" / "vendor", tmp_path], check=True, capture_output=True)
    made = sorted(path.relative_to(tmp_path) for path in tmp_path.glob("*/*"))
    assert made == VENDORED
    for name in VENDORED:
        assert (tmp_path / name).read_bytes() == (VENDOR / name).read_bytes()


def test_every_module_is_asked_for_at_once() -> None:
    page = (CLIENT / "dashboard" / "index.html").read_text()
    modules = {path.name for path in (CLIENT / "dashboard").glob("*.js")}
    preloaded = set(re.findall(r'<link rel="modulepreload" href="([^"]+)">', page))
    assert preloaded == modules - {"main.js", "theme.js"}
