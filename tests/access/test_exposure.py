"""An address that others reach is listened on with keys, or where somebody says that it may be."""

import pytest
import yaml

from service.settings import Settings, SettingsError
from tests.access.support import command
from tests.support.services import ROOT

NOWHERE = "postgresql://postgres@127.0.0.1:1/none"
WORDS = ("HOST is 0.0.0.0", "KEYS_REQUIRED=true", "keys create", "KEYS_REQUIRED=false")


def settings(**given: object) -> Settings:
    return Settings.model_validate({"database_url": NOWHERE} | given)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "tallymark.example", "1270.0.0.1"])
def test_other_addresses_want_an_answer_first(host: str) -> None:
    with pytest.raises(SettingsError, match=r"^[^\n]+KEYS_REQUIRED=true[^\n]+\.$"):
        settings(host=host).require_guard()
    for answer in (True, False, "true", "false"):
        settings(host=host, keys_required=answer).require_guard()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_a_loopback_address_does_not(host: str) -> None:
    settings(host=host).require_guard()
    # As compose passes on what is not set.
    settings(host=host, keys_required="").require_guard()


@pytest.mark.parametrize("name", ["serve", "run"])
def test_the_commands_refuse_in_one_line(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("HOST", "0.0.0.0")
    monkeypatch.setenv("PORT", "0")
    done = command(NOWHERE, name)
    (line,) = done.stderr.strip().splitlines()
    assert done.returncode == 1
    assert line.startswith("tallymark: ")
    assert all(words in line for words in WORDS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("trusted_proxies", "proxy.example"),
        ("trusted_proxies", "*"),
        ("trusted_proxies", "10.0.0.1/24"),
        ("trusted_proxies", "10.0.0.1,"),
        ("login_secret", "short"),
        ("keys_required", "perhaps"),
        ("key_requests_per_second", "0"),
        ("address_requests_per_second", "nan"),
        ("late_events_per_minute", "0"),
        ("login_hours", "0"),
    ],
)
def test_wrong_settings_are_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=name):
        settings(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("trusted_proxies", "", ()),
        ("trusted_proxies", "10.0.0.2, 10.1.0.0/16,::1", ("10.0.0.2", "10.1.0.0/16", "::1")),
        ("key_requests_per_second", "", None),
        ("key_requests_per_second", "2.5", 2.5),
        ("late_events_per_minute", "", None),
        ("login_secret", "", None),
        ("keys_required", "false", False),
    ],
)
def test_settings_are_read(name: str, value: str, expected: object) -> None:
    assert getattr(settings(**{name: value}), name) == expected


def test_the_secret_is_not_shown() -> None:
    assert "x" * 32 not in repr(settings(login_secret="x" * 32))


def test_compose_asks_for_no_keys_as_long_as_it_publishes_to_this_machine_only() -> None:
    service = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["service"]
    assert service["environment"]["KEYS_REQUIRED"] == "${KEYS_REQUIRED:-false}"
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    # The image says nothing of keys, so that whoever runs it has to.
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert "HOST=0.0.0.0" in dockerfile
    assert "KEYS" not in dockerfile
