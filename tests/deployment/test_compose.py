"""docker-compose.production.yml and scripts/production, as far as can be tried without Docker."""

import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from service.settings import Settings
from tests.support.services import ROOT

FILE = ROOT / "docker-compose.production.yml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PLAIN: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
INSTANCES = {"service-a", "service-b"}
ROLES = (ROOT / "scripts" / "production" / "roles.sh").read_text()


def test_the_file_is_valid() -> None:
    parser = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*parser, FILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_only_the_proxy_is_published_beyond_this_machine() -> None:
    for name, service in SERVICES.items():
        for port in service.get("ports", []):
            assert name == "proxy" or port.startswith("127.0.0.1:"), port
    assert all("ports" not in SERVICES[name] for name in INSTANCES | {"db", "migrate"})


@pytest.mark.parametrize("name", SERVICES)
def test_each_container_is_bounded_watched_and_started_again(name: str) -> None:
    service = SERVICES[name]
    assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}
    assert service["restart"] in {"unless-stopped", "on-failure:5"}
    assert service["logging"]["options"]["max-size"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    # The image of the service has a check of its own.
    assert "healthcheck" in service or name in INSTANCES


def test_images_are_pinned_and_those_of_the_plain_file() -> None:
    for name, service in SERVICES.items():
        if "build" not in service:
            assert re.search(r":v?\d+\.\d+", service["image"]), service["image"]
        if name in PLAIN and "image" in PLAIN[name]:
            assert service["image"] == PLAIN[name]["image"]


def test_what_is_mounted_and_built_is_there() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (ROOT / source).is_file(), source
                assert volume.endswith(":ro")
            else:
                assert source in COMPOSE["volumes"]


def test_each_instance_has_a_spool_of_its_own() -> None:
    spools = [volume for name in INSTANCES for volume in SERVICES[name]["volumes"]]
    assert len(set(spools)) == len(INSTANCES)
    assert all(volume.endswith(":/var/lib/tallymark") for volume in spools)


def test_no_password_is_in_the_environment() -> None:
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|URL", name):
                assert name.endswith("_FILE"), name
                assert value.removeprefix("/run/secrets/") in service["secrets"]


def test_the_service_gets_the_urls_of_its_role_only() -> None:
    for name in INSTANCES:
        assert set(SERVICES[name]["secrets"]) == {"database_url", "login_secret"}
        assert SERVICES[name]["depends_on"] == {
            "migrate": {"condition": "service_completed_successfully"}
        }
    assert "migration_database_url" in SERVICES["migrate"]["secrets"]


def test_settings_are_settings() -> None:
    known = {name.upper() for name in Settings.model_fields} | {"KEYS_REQUIRED", "TRUSTED_PROXIES"}
    for name in INSTANCES | {"migrate"}:
        assert SERVICES[name]["environment"].keys() <= known


def test_the_proxy_and_prometheus_ask_both_instances() -> None:
    caddy = (ROOT / "scripts" / "production" / "Caddyfile").read_text()
    (upstreams,) = re.findall(r"reverse_proxy (.*) \{", caddy)
    expected = {f"{name}:8000" for name in INSTANCES}
    assert set(upstreams.split()) == expected
    prometheus = yaml.safe_load((ROOT / "scripts" / "production" / "prometheus.yml").read_text())
    (job,) = prometheus["scrape_configs"]
    assert set(job["static_configs"][0]["targets"]) == expected
    key = Path(job["authorization"]["credentials_file"])
    assert key.name in SERVICES["prometheus"]["secrets"]
    assert "{$SITE_ADDRESS}" in caddy
    # Else a request may meet a connection that the service is closing.
    (keepalive,) = re.findall(r"keepalive (\d+)s", caddy)
    assert int(keepalive) < Settings.model_fields["idle_seconds"].default


def test_secrets_are_made_once(tmp_path: Path) -> None:
    command = [ROOT / "scripts" / "production" / "make-secrets", tmp_path]
    subprocess.run(command, check=True, capture_output=True)
    secrets = {file.name: file.read_text() for file in (tmp_path / "secrets").iterdir()}
    assert COMPOSE["secrets"] == {name: {"file": f"./secrets/{name}"} for name in secrets}
    used = {name for service in SERVICES.values() for name in service.get("secrets", [])}
    assert used == secrets.keys()
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    assert len(secrets["service_password"]) == 48
    for name, role, password in (
        ("database_url", "tallymark_app", "service_password"),
        ("migration_database_url", "tallymark_owner", "owner_password"),
    ):
        assert f"create role {role} login" in ROLES
        assert secrets[name] == f"postgresql://{role}:{secrets[password]}@db:5432/tallymark"
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert "there already" in again.stderr


def test_the_script_makes_the_roles(empty_database_url: str) -> None:
    """The script's SQL, with roles of this test's own, since roles are the whole server's."""
    script = ROOT / "scripts" / "production" / "roles.sh"
    assert subprocess.run(["sh", "-n", script], check=False).returncode == 0
    (statements,) = re.findall(r"<<'SQL'\n(.*)^SQL$", ROLES, re.DOTALL | re.MULTILINE)
    statements = re.sub(r"^\\getenv .*$|^create extension .*$", "", statements, flags=re.MULTILINE)
    statements = re.sub(r"\btallymark_(?=owner|app|service|privacy)", "of_a_test_", statements)
    statements = re.sub(r":'\w+'", "'hush'", statements)
    rights = """
        select has_database_privilege('of_a_test_owner', current_database(), 'create'),
               has_schema_privilege('of_a_test_owner', 'public', 'create'),
               has_schema_privilege('of_a_test_app', 'public', 'create'),
               pg_has_role('of_a_test_app', 'of_a_test_service', 'usage')
    """
    with psycopg.connect(empty_database_url) as connection:
        # The image has it before the script runs.
        connection.execute("create extension if not exists timescaledb")
        connection.execute(statements.encode())
        assert connection.execute(rights).fetchone() == (True, True, False, True)
        connection.rollback()
