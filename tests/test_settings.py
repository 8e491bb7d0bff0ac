"""load_settings: every default, what is refused, and that a refusal is one plain line."""

import os
import re
from pathlib import Path
from typing import Any

import pytest

import service.settings
from service.database.connections import read_pool
from service.settings import Settings, SettingsError, load_settings

URL = "postgresql://postgres:secret@127.0.0.1/tallymark"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("DATABASE_URL", URL)


def refusal(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> str:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    return str(caught.value)


def test_only_the_database_has_to_be_named() -> None:
    settings = load_settings()
    assert settings.database_url == URL
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert settings.log_ingest_requests is False
    assert settings.retention_days is None


def test_a_missing_database_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL")
    with pytest.raises(
        SettingsError,
        match=r"^The setting DATABASE_URL is not set; it is a URL like postgresql://.*name, "
        r"and `scripts/run` prints that of the database it runs\.$",
    ):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("DATABASE_URL", "postgres://h/d", "postgres://h/d"),
        ("HOST", "::1", "::1"),
        ("PORT", "0", 0),
        ("PORT", "65535", 65535),
        ("WORKERS", "64", 64),
        ("HEAD_SECONDS", "0.1", 0.1),
        ("IDLE_SECONDS", "3600", 3600),
        ("NEW_CONNECTIONS", "1", 1),
        ("RETENTION_DAYS", "9", 9),
        ("RETENTION_DAYS", "", None),
        ("LOCATION_DECIMALS", "2", 2),
        ("LOCATION_DECIMALS", "", None),
        ("USERS_API", "true", True),
        ("MIGRATION_DATABASE_URL", "", None),
        ("INGEST_QUEUE_EVENTS", "1", 1),
        ("INGEST_QUEUE_BYTES", "65536", 65536),
        ("INGEST_DEADLINE_SECONDS", "0.5", 0.5),
        ("READ_CONNECTIONS", "100", 100),
        ("INGEST_CONNECTIONS", "1", 1),
        ("INGEST_CONNECTIONS", "16", 16),
        ("READ_DEADLINE_SECONDS", "3600", 3600),
        ("EXPORT_CONNECTIONS", "1", 1),
        ("EXPORT_DEADLINE_SECONDS", "3600", 3600),
        ("SHUTDOWN_SECONDS", "1", 1),
        ("LOG_LEVEL", "debug", "debug"),
        ("LOG_FORMAT", "json", "json"),
        ("LOG_INGEST_REQUESTS", "true", True),
        ("LOG_INGEST_REQUESTS", "0", False),
    ],
)
def test_a_setting_is_read_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: Any
) -> None:
    monkeypatch.setenv(name, value)
    assert getattr(load_settings(), name.lower()) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", ""),
        ("DATABASE_URL", "mysql://h/d"),
        ("DATABASE_READ_URL", "replica.example.com"),
        ("DATABASE_URL", "host=127.0.0.1 dbname=d"),
        ("HOST", ""),
        ("PORT", ""),
        ("PORT", "-1"),
        ("PORT", "65536"),
        ("PORT", "http"),
        ("PORT", "8000.5"),
        ("WORKERS", "0"),
        ("HEAD_SECONDS", "0"),
        ("IDLE_SECONDS", "never"),
        ("NEW_CONNECTIONS", "0"),
        ("RETENTION_DAYS", "8"),
        ("RETENTION_DAYS", "36501"),
        ("RETENTION_DAYS", "30 days"),
        ("RETENTION_DAYS", "off"),
        ("LOCATION_DECIMALS", "-1"),
        ("LOCATION_DECIMALS", "16"),
        ("USERS_API", "perhaps"),
        ("MIGRATION_DATABASE_URL", "mysql://h/d"),
        ("INGEST_QUEUE_EVENTS", "0"),
        ("INGEST_QUEUE_BYTES", "65535"),
        ("INGEST_DEADLINE_SECONDS", "0"),
        ("INGEST_DEADLINE_SECONDS", "-1"),
        ("INGEST_DEADLINE_SECONDS", "nan"),
        ("INGEST_DEADLINE_SECONDS", "inf"),
        ("INGEST_DEADLINE_SECONDS", "5s"),
        ("READ_CONNECTIONS", "0"),
        ("INGEST_CONNECTIONS", "0"),
        ("INGEST_CONNECTIONS", "17"),
        ("READ_CONNECTIONS", "101"),
        ("READ_DEADLINE_SECONDS", "3601"),
        ("EXPORT_CONNECTIONS", "0"),
        ("EXPORT_CONNECTIONS", "101"),
        ("EXPORT_DEADLINE_SECONDS", "0"),
        ("SHUTDOWN_SECONDS", "0"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
        ("LOG_INGEST_REQUESTS", "perhaps"),
    ],
)
def test_a_wrong_setting_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    message = refusal(monkeypatch, name, value)
    assert re.fullmatch(rf"The setting {name} is wrong: [^\n]+\.", message)


def test_a_setting_may_be_a_file_of_secrets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(service.settings, "SECRETS", tmp_path)
    (tmp_path / "database_url").write_text(f"{URL}-of-the-file\n")
    (tmp_path / "migration_database_url").write_text(f"{URL}\n")
    (tmp_path / "another_secret").write_text("not ours")
    assert load_settings().database_url == URL
    monkeypatch.delenv("DATABASE_URL")
    settings = load_settings()
    assert settings.database_url == f"{URL}-of-the-file"
    assert settings.owners_url == URL


def test_a_refusal_does_not_show_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "secret" not in refusal(monkeypatch, "DATABASE_URL", "mysql://postgres:secret@h/d")


def test_what_is_given_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "8001")
    assert load_settings(port=0).port == 0
    assert load_settings(port=None).port == 8001


def test_names_in_the_environment_may_be_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("port", "8002")
    assert load_settings().port == 8002


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().port = 1  # type: ignore[misc]


def test_what_is_not_a_setting_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYMARK_UNHEARD_OF", "1")
    assert load_settings().model_extra is None


@pytest.mark.parametrize("field", list(Settings.model_fields))
def test_every_setting_is_described_and_has_a_unit(field: str) -> None:
    described = Settings.model_fields[field]
    assert described.description
    if described.annotation is float:
        assert field.endswith("_seconds")


@pytest.mark.parametrize("seconds", ["0.0001", "0.0004", "0.001"])
def test_a_short_deadline_is_refused_or_kept(monkeypatch: pytest.MonkeyPatch, seconds: str) -> None:
    """PostgreSQL's statement_timeout counts milliseconds, and 0 of them mean no end at all."""
    monkeypatch.setenv("READ_DEADLINE_SECONDS", seconds)
    try:
        deadline = load_settings().read_deadline_seconds
    except SettingsError:
        return
    pool = read_pool(os.environ["DATABASE_URL"], connections=1, deadline_seconds=deadline)
    assert isinstance(pool.kwargs, dict)
    assert not str(pool.kwargs["options"]).endswith("statement_timeout=0")
