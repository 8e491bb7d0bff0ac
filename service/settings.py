"""Every setting: its default, its unit in its name, refused when it is wrong."""

from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AnyHttpUrl,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

SECRETS = Path("/run/secrets")
"""A file there that has a setting's name, in lower case, holds its value: so container engines hand
secrets on. The environment goes before it."""

Seconds = Annotated[float, Field(ge=0.1, le=3600, allow_inf_nan=False)]


def _split(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",")) if value.strip() else ()


def _origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    for origin in () if origins == ("*",) else origins:
        if not _is_origin(origin):
            raise ValueError(
                f"{origin!r} is not an origin as browsers send it, like https://www.example.com or "
                "http://127.0.0.1:5500 (lower case, no path, no default port)"
            )
    return origins


def _is_origin(text: str) -> bool:
    try:
        return str(AnyHttpUrl(text)) == f"{text}/" and not {"@", "*"} & set(text)
    except ValidationError:
        return False


def _networks(addresses: tuple[str, ...]) -> tuple[str, ...]:
    for address in addresses:
        try:
            ip_network(address)
        except ValueError:
            raise ValueError(
                f"{address!r} is neither an address nor a network, like 10.0.0.2 or 10.0.0.0/24"
            ) from None
    return addresses


def _unset(value: Any) -> Any:
    return None if value == "" else value


def _named(value: Any) -> Any:
    if value == "":
        raise ValueError("it must name a directory")
    return value


Origins = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_origins)]
Networks = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_networks)]
PerSecond = Annotated[float, Field(ge=0.01, le=1_000_000, allow_inf_nan=False)] | None


DatabaseUrl = Annotated[str, Field(pattern="^postgres(ql)?://")]


class Settings(BaseSettings):
    """Read from the environment, under these names in capitals."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True)

    database_url: Annotated[DatabaseUrl, Field(description="The TimescaleDB that holds the events")]
    migration_database_url: Annotated[
        DatabaseUrl | None,
        BeforeValidator(_unset),
        Field(description="The same database by its owner, who migrates; else DATABASE_URL does"),
    ] = None
    database_read_url: Annotated[
        DatabaseUrl | None,
        Field(description="A replica that answers counts, if there is one"),
    ] = None
    host: Annotated[str, Field(min_length=1, description="The address to listen on")] = "127.0.0.1"
    port: Annotated[
        int, Field(ge=0, le=65535, description="The TCP port to listen on; 0 takes a free one")
    ] = 8000
    workers: Annotated[
        int, Field(ge=1, le=64, description="Processes that serve, each with limits of its own")
    ] = 1
    head_seconds: Annotated[
        Seconds, Field(description="A request whose head is not there by then is answered 408")
    ] = 10.0
    idle_seconds: Annotated[
        Seconds, Field(description="A connection without a request for so long is closed")
    ] = 75.0
    new_connections: Annotated[
        int,
        Field(ge=1, description="Connections that may be open without a request until now"),
    ] = 1000
    cors_allowed_origins: Annotated[
        Origins,
        Field(description="Origins whose pages may send and count, with commas; * is every one"),
    ] = ()

    keys_required: Annotated[
        bool | None,
        BeforeValidator(_unset),
        Field(description="Whether who writes and reads needs a key; not set: on loopback only no"),
    ] = None
    keys_refresh_seconds: Annotated[
        Seconds, Field(description="How often keys are read; one that is revoked lives so long")
    ] = 60.0
    login_secret: Annotated[
        Annotated[SecretStr, Field(min_length=32)] | None,
        BeforeValidator(_unset),
        Field(description="Signs the cookies of logins; not set: made, and kept by the spool"),
    ] = None
    login_hours: Annotated[int, Field(ge=1, le=8760, description="How long a login lasts")] = 12
    trusted_proxies: Annotated[
        Networks,
        Field(description="Proxies that are believed who sends, and by which scheme, with commas"),
    ] = ()
    key_requests_per_second: Annotated[
        PerSecond,
        BeforeValidator(_unset),
        Field(description="Requests by a key that are answered by a worker; not set: all"),
    ] = None
    address_requests_per_second: Annotated[
        PerSecond,
        BeforeValidator(_unset),
        Field(description="Requests of an address that are answered by a worker; not set: all"),
    ] = None
    late_events_per_minute: Annotated[
        Annotated[int, Field(ge=1)] | None,
        BeforeValidator(_unset),
        Field(description="Late events by a key that a worker takes; not set: all"),
    ] = None
    late_after_minutes: Annotated[
        int, Field(ge=1, le=10_080, description="From that age on an event is late")
    ] = 5

    retention_days: Annotated[
        Annotated[int, Field(ge=9, le=36_500)] | None,
        BeforeValidator(_unset),
        Field(description="Events go after so many days, their counts stay; not set: none go"),
    ] = None

    location_decimals: Annotated[
        Annotated[int, Field(ge=0, le=15)] | None,
        BeforeValidator(_unset),
        Field(description="Coordinates are rounded to so many before they are stored; else not"),
    ] = None
    users_api: Annotated[
        bool, Field(description="Whether users may be exported and erased over HTTP")
    ] = False

    ingest_connections: Annotated[
        int, Field(ge=1, le=16, description="Database connections to write by, if there is much")
    ] = 2
    ingest_queue_events: Annotated[
        int,
        Field(ge=1, description="Events that may wait to be written; more are answered 503"),
    ] = 20_000
    ingest_queue_bytes: Annotated[
        int, Field(ge=65_536, description="Bytes of events that may wait, or are being written")
    ] = 64 * 1024 * 1024
    ingest_deadline_seconds: Annotated[
        Seconds, Field(description="An event that is not stored by then is answered 503")
    ] = 5.0
    spool_directory: Annotated[
        Path,
        BeforeValidator(_named),
        Field(description="Where events are kept while the database is away"),
    ] = Path(".data/spool")
    spool_bytes: Annotated[
        int, Field(ge=0, description="How much may be kept there by a worker; 0: nothing is")
    ] = 1024**3
    read_connections: Annotated[
        int, Field(ge=1, le=100, description="Database connections for counts and pages")
    ] = 4
    read_deadline_seconds: Annotated[
        Seconds, Field(description="A count or page that takes longer is answered 503")
    ] = 5.0
    export_connections: Annotated[
        int, Field(ge=1, le=100, description="Exports that may run at once; more are answered 503")
    ] = 2
    export_deadline_seconds: Annotated[
        Seconds, Field(description="An export that takes longer is cut short")
    ] = 600.0
    shutdown_seconds: Annotated[
        Seconds, Field(description="How long a stop waits for requests in flight")
    ] = 8.0

    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Field(description="The least level logged")
    ] = "info"
    log_format: Annotated[
        Literal["auto", "console", "json"],
        Field(description="How log lines look; auto is console on a terminal and json elsewhere"),
    ] = "auto"
    log_ingest_requests: Annotated[
        bool, Field(description="A line for each stored event's request, beside one for each flush")
    ] = False

    @property
    def owners_url(self) -> str:
        """The database as who owns what is in it, as far as that is known."""
        return self.migration_database_url or self.database_url

    @property
    def reads_from(self) -> str:
        """The database that is asked for counts."""
        return self.database_read_url or self.database_url

    def require_guard(self) -> None:
        """Raise SettingsError where anybody would reach the service, and nobody has said so."""
        if self.keys_required is None and not _is_loopback(self.host):
            raise SettingsError(
                f"HOST is {self.host}, where others reach the service. Set KEYS_REQUIRED=true and "
                "make keys (`python -m service keys create`), or, where something else guards it, "
                "KEYS_REQUIRED=false."
            )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class SettingsError(Exception):
    """A setting is missing or wrong; the text is one plain line for the operator."""


def load_settings(**overrides: Any) -> Settings:
    """Return the settings of the environment and of SECRETS, with `overrides` before them.

    Raises SettingsError.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    if SECRETS.is_dir():
        given["_secrets_dir"] = SECRETS
    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).upper()
        reason = first["msg"].removeprefix("Value error, ")
        problem = "is not set" if first["type"] == "missing" else f"is wrong: {reason}"
        if "DATABASE_" in name:
            problem += (
                "; it is a URL like postgresql://user:password@127.0.0.1:5432/name, and "
                "`scripts/run` prints that of the database it runs"
            )
        raise SettingsError(f"The setting {name} {problem}.") from None
