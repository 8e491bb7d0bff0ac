"""`python -m service sites` and `python -m service keys`."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from service.access.keys import Kind, id_of
from service.settings import load_settings

if TYPE_CHECKING:
    from service.access.records import KeyRecord, Records

sites = typer.Typer(no_args_is_help=True, help="What is counted apart.")
keys = typer.Typer(no_args_is_help=True, help="Who may write and read.")

SiteName = Annotated[str, typer.Argument(help="Its name.")]
ONCE = "It is shown this once: only its hash is kept."
KeyId = Annotated[str, typer.Argument(metavar="ID", help="The key's id, as `keys list` has it.")]


@contextmanager
def records() -> "Iterator[Records]":
    """Yield the sites and keys, as their owner. Raises what an operator can mend."""
    from service.access.records import records

    with records(load_settings().owners_url) as known:
        yield known


@sites.command(name="create")
def create_site(name: SiteName) -> None:
    """Make a site."""
    with records() as known:
        typer.echo(f"Site {known.create_site(name)}: {name}")


@sites.command(name="list")
def list_sites() -> None:
    """Show all sites."""
    with records() as known:
        rows = [(str(site.id), site.name, _time(site.created_at)) for site in known.all_sites()]
    _show(("id", "name", "created"), rows)


@sites.command(name="rename")
def rename_site(
    site: Annotated[str, typer.Argument(help="Its id, or its name.")], name: SiteName
) -> None:
    """Give a site another name; its id, its keys and its events stay."""
    with records() as known:
        typer.echo(f"Site {known.rename_site(site, name)}: {name}")


@keys.command(name="create")
def create_key(
    kind: Annotated[
        Kind,
        typer.Argument(
            help="write: sends events, and may be public; read: counts, events, dashboard; "
            "admin: that, and erases."
        ),
    ],
    site: Annotated[
        str, typer.Option(help="The id or name of the site it is for; or all, unless it writes.")
    ] = "1",
    label: Annotated[str, typer.Option(help="What it is used for, in your words.")] = "",
    days: Annotated[
        int | None, typer.Option(min=1, max=36_500, help="How long it is valid; else for ever.")
    ] = None,
) -> None:
    """Make a key and print it."""
    life = None if days is None else timedelta(days=days)
    with records() as known:
        site_id = None if site == "all" else known.site_id(site)
        _tell(known.create_key(kind, site_id, label, life), ONCE)


@keys.command(name="list")
def list_keys() -> None:
    """Show all keys, as far as they are known: not their secrets."""
    with records() as known:
        rows = [
            (
                key.id,
                key.kind,
                "all" if key.site_id is None else f"{key.site_id} {key.site}",
                key.label,
                _time(key.created_at),
                _state(key),
            )
            for key in known.all_keys()
        ]
    _show(("id", "kind", "site", "label", "created", "valid"), rows)


@keys.command()
def rotate(
    key_id: KeyId,
    grace_hours: Annotated[
        float, typer.Option(min=0, max=8760, help="How long the old one is valid still.")
    ] = 24,
) -> None:
    """Make a new key for the same purpose, and let the old one end after some time."""
    with records() as known:
        key = known.rotate(key_id, timedelta(hours=grace_hours))
        # It has the old one's days, which of one that is rotated a second time may be few.
        (new,) = (one for one in known.all_keys() if one.id == id_of(key))
        end = "" if new.expires_at is None else f" It is valid until {_time(new.expires_at)}."
        _tell(key, f"{ONCE}{end} The old one is valid for {grace_hours:g} hours still.")


@keys.command()
def revoke(key_id: KeyId) -> None:
    """Let a key be valid no longer, once each service has heard of it."""
    with records() as known:
        known.revoke(key_id)
    typer.echo(f"Revoked {key_id}; services stop to take it as soon as they read the keys again.")


def _tell(key: str, note: str) -> None:
    # The key alone goes to stdout, for scripts.
    typer.echo(key)
    typer.echo(note, err=True)


def _state(key: "KeyRecord") -> str:
    if key.revoked_at is not None:
        return f"revoked {_time(key.revoked_at)}"
    if key.expires_at is None:
        return "yes"
    return f"{'until' if key.is_live else 'expired'} {_time(key.expires_at)}"


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


def _show(columns: Sequence[str], rows: Iterable[Iterable[str]]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from service.ops import screen

    table = Table(*columns, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for row in rows:
        table.add_row(*map(Text, row))
    screen().print(table)
