"""docs/dashboards.md: what it tells to type works."""

import os
import re
import shlex
from pathlib import Path

import pytest
from psycopg import sql

from service.database.dashboards import load_dashboards
from tests.dashboards.commands import printed
from tests.dashboards.roles import rights_of
from tests.support.databases import Database

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "dashboards.md").read_text()
DASHBOARDS = load_dashboards()
NAMES = [dashboard.name for dashboard in DASHBOARDS]

STATEMENTS = [
    statement.strip()
    for block in re.findall(r"^```sql\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    for statement in block.split(";")
    if statement.strip()
]
QUERIES = [statement for statement in STATEMENTS if statement.startswith("select")]
COMMANDS = re.findall(r"^    (?:COLUMNS=\d+ )?\.venv/bin/python -m service ops(.*)$", TEXT, re.M)


def test_each_dashboard_has_its_line() -> None:
    for dashboard in DASHBOARDS:
        assert re.search(rf"^\| `{dashboard.name}` \|.*\| {dashboard.header.look} \|$", TEXT, re.M)


@pytest.mark.parametrize("query", QUERIES)
def test_its_queries_run_for_the_role(query: str, database: Database) -> None:
    with rights_of(database, "tallymark_ops"):
        database.execute(query.encode())


@pytest.mark.parametrize("arguments", [line for line in COMMANDS if "--watch" not in line])
def test_its_commands_run(arguments: str, shared_database_url: str, tmp_path: Path) -> None:
    wanted = shlex.split(arguments.replace("docs/images", str(tmp_path)))
    names = [word for word in wanted if word.isidentifier()] or NAMES
    output = printed(shared_database_url, *wanted)
    assert [name for name in names if f"{name}  " not in output] == []


def test_a_person_gets_access(database: Database) -> None:
    (statement,) = (text for text in STATEMENTS if text.startswith("create role ann "))
    name = f"ann_{os.getpid()}"
    database.execute(statement.replace("ann", name, 1).encode())
    try:
        with rights_of(database, name):
            assert database.execute("select * from ops.jobs").fetchall()
    finally:
        database.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


def test_an_administrator_can_make_up_for_the_role(database: Database) -> None:
    place = STATEMENTS.index("create role tallymark_ops nologin")  # Which there is here.
    for statement in STATEMENTS[place + 1 : place + 3]:
        database.execute(statement.encode())
    assert STATEMENTS[place + 2] == "call ops.grant_access()"
