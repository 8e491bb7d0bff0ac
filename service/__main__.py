"""The command line: `python -m service`."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from service.access import commands
from service.settings import SettingsError, load_settings

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__
)
app.add_typer(commands.sites, name="sites")
app.add_typer(commands.keys, name="keys")

Port = Annotated[int | None, typer.Option(help="The TCP port to serve on; else PORT, else 8000.")]
Workers = Annotated[
    int | None, typer.Option(help="How many processes serve; else WORKERS, else 1.")
]


@app.command()
def serve(port: Port = None, workers: Workers = None) -> None:
    """Migrate the database of DATABASE_URL, then serve; without it, keep events on the disk."""
    from service.database.migrations import DatabaseAwayError
    from service.database.preparation import prepare
    from service.logs import configure_logging
    from service.server import bind, exit_on_signals
    from service.workers import serve

    exit_on_signals()
    settings = load_settings(port=port, workers=workers)
    settings.require_guard()
    listener = bind(settings.host, settings.port)
    configure_logging(settings)
    try:
        prepare(settings.database_url, settings.retention_days, settings.migration_database_url)
    except DatabaseAwayError as error:
        if settings.spool_bytes == 0:
            raise
        typer.echo(f"tallymark: {error} Until it is there, events are kept on the disk.", err=True)
        serve(settings, listener, migrated=False)
    else:
        serve(settings, listener)


@app.command(name="migrate")
def migrate_(
    with_retention: Annotated[
        bool,
        typer.Option(
            "--with-retention", help="Let RETENTION_DAYS hold from now on, too, set or not."
        ),
    ] = False,
) -> None:
    """Bring the database of MIGRATION_DATABASE_URL, or DATABASE_URL, to the current schema."""
    from service.database.migrations import migrate
    from service.database.retention import set_retention
    from service.logs import configure_logging

    settings = load_settings()
    configure_logging(settings)
    applied = migrate(settings.owners_url)
    if with_retention:
        set_retention(settings.owners_url, settings.retention_days)
    typer.echo("\n".join(f"applied {name}" for name in applied) or "The schema is current.")


users = typer.Typer(no_args_is_help=True, help="All that is kept of a user (docs/privacy.md).")
app.add_typer(users, name="users")

UserId = Annotated[str, typer.Argument(help="The user_id of the events.", show_default=False)]
OneSite = Annotated[int | None, typer.Option(help="Only at this site; else at all.")]


@users.command(name="export")
def export_user(user_id: UserId, site: OneSite = None) -> None:
    """Print what is kept of a user, a JSON document a line: events, then refused ones."""
    from service.privacy.command import export

    export(load_settings(), user_id, site)


@users.command(name="erase")
def erase_user(user_id: UserId, site: OneSite = None) -> None:
    """Erase a user for good; if it is cut off, the same command does the rest."""
    from service.privacy.command import erase

    erased = erase(load_settings(), user_id, site)
    typer.echo(
        f"Erased {erased.events} events, {erased.rejected} that had been refused, and "
        f"{erased.spooled} in the spool."
    )
    if erased.still_spooled:
        typer.echo(
            f"{erased.still_spooled} more are in spools in use, or in damaged files: "
            "erase again once they are stored (docs/privacy.md)."
        )


Instant = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"])]


@app.command()
def refresh(start: Instant = None, end: Instant = None) -> None:
    """Bring the aggregates up to date at once, as after a backfill; all, or some days (UTC)."""
    from service.database.retention import refresh

    refresh(load_settings().owners_url, in_utc(start), in_utc(end))


def in_utc(moment: datetime | None) -> datetime | None:
    """Return an instant of the command line, which is meant in UTC."""
    return None if moment is None else moment.replace(tzinfo=UTC)


@app.command()
def doctor(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what was found as JSON, for programs.")
    ] = False,
) -> None:
    """Look at the settings, the database and the disk, and say what to do (docs/deployment.md).

    The exit status is 1 if something is wrong.
    """
    from service.doctor import Status, examine, show

    findings = examine(load_settings())
    show(findings, as_json=as_json)
    raise typer.Exit(any(one.status is Status.WRONG for one in findings))


File = Annotated[Path, typer.Argument(help="The file of the dump.", show_default=False)]


@app.command()
def backup(file: File) -> None:
    """Write a dump of the database into a new file, while others write (docs/backup.md)."""
    from service.database.backup import back_up
    from service.server import exit_on_signals

    exit_on_signals("tallymark: The backup was cut off: there is no file.")
    back_up(load_settings().owners_url, file)
    typer.echo(f"{file} holds the database: {file.stat().st_size} bytes.")


@app.command()
def restore(
    file: File,
    database_url: Annotated[
        str, typer.Argument(help="An empty database, by an administrator.", show_default=False)
    ],
    as_copy: Annotated[
        bool, typer.Option(help="It is another database: spools of the first are not for it.")
    ] = False,
) -> None:
    """Restore a dump into a new, empty database (docs/backup.md)."""
    from service.database.backup import restore
    from service.server import exit_on_signals

    exit_on_signals("tallymark: The restore was cut off: drop that database, and make a new one.")
    url = load_settings(database_url=database_url).database_url
    restore(file, url, as_copy=as_copy)
    typer.echo("Restored. Start the service on it, and erase again whom you erased since the dump.")


@app.command()
def ops(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="The dashboards; else all of them.", show_default=False),
    ] = None,
    rows: Annotated[
        int, typer.Option(min=1, help="How many rows of each to show; --watch shows what fits.")
    ] = 10,
    watch: Annotated[
        float | None,
        typer.Option(
            min=0.5,
            metavar="SECONDS",
            help="Draw them again so often, until Ctrl-C; of all, those that change all the time.",
        ),
    ] = None,
    svg: Annotated[
        Path | None, typer.Option(help="Write them to this file as a picture, too.")
    ] = None,
    database_url: Annotated[
        str | None, typer.Option(help="The database; else that of DATABASE_URL.")
    ] = None,
) -> None:
    """Show the operational dashboards of a database."""
    from service.ops import OpsError, show
    from service.server import exit_on_signals
    from service.watch import watch as watch_

    exit_on_signals()
    url = load_settings(database_url=database_url).database_url
    if watch is None:
        show(url, names or [], rows=rows, picture=svg)
    elif svg is None:
        watch_(url, names or [], watch)
    else:
        raise OpsError("A picture is of one moment: give --svg or --watch.")


@app.command()
def embedded_database(
    directory: Annotated[Path, typer.Option(help="Where its data lie.")] = Path(".data/embedded"),
    port: Annotated[int, typer.Option(help="The TCP port; 0 takes a free one.")] = 0,
    fsync: Annotated[bool, typer.Option(help="Whether a power cut must lose nothing.")] = True,
) -> None:
    """Run TimescaleDB without Docker, for trying, developing and testing."""
    from service.database.embedded import serve

    raise typer.Exit(serve(directory, port, fsync))


@app.command()
def run(
    port: Port = None,
    workers: Workers = None,
    database: Annotated[
        str | None, typer.Option(help="embedded, docker, or a URL; else what is there.")
    ] = None,
    sample_data: Annotated[
        bool, typer.Option(help="Whether an empty database gets sample data.")
    ] = True,
    fresh: Annotated[
        bool,
        typer.Option(
            "--fresh",
            help="Delete the embedded database's data first; with --database docker, Docker's.",
        ),
    ] = False,
) -> None:
    """Find a database, migrate, load sample data into an empty one, and serve."""
    from service.run import run

    run(port=port, workers=workers, database=database, sample_data=sample_data, fresh=fresh)


def main() -> None:
    """Run the command line; what an operator can mend is told in one plain line."""
    from service.access.records import AccessError
    from service.database.embedded import EmbeddedDatabaseError
    from service.database.migrations import DatabaseError
    from service.ingest.spool import SpoolError
    from service.ops import OpsError
    from service.privacy.command import UserError
    from service.run import RunError
    from service.server import ListenError

    try:
        app()
    except (
        SettingsError,
        AccessError,
        DatabaseError,
        ListenError,
        EmbeddedDatabaseError,
        OpsError,
        RunError,
        SpoolError,
        UserError,
    ) as error:
        sys.exit(f"tallymark: {error}")


if __name__ == "__main__":
    main()
