"""The command line: `python -m loadtest.bench`, or `scripts/bench`, which sees to its packages."""

import typer

from loadtest.bench import counts, dashboard, growth, refreshes, spool, writes
from loadtest.bench.ingest import command as ingest

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Measure on a fresh database: of DATABASE_URL's server, else an embedded one.",
)
app.command("counts")(counts.main)
app.command("dashboard")(dashboard.main)
app.command("growth")(growth.main)
app.command("ingest")(ingest.main)
app.command("refreshes")(refreshes.main)
app.command("spool")(spool.main)
app.command("writes")(writes.main)

if __name__ == "__main__":
    app(prog_name="scripts/bench")
