"""sql/grafana: each panel and each alert asks what there is, with the rights that Grafana has."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
import yaml
from prometheus_client import Metric
from psycopg import errors, sql

from service.database.dashboards import load_dashboards
from service.metrics import REGISTRY
from tests.dashboards.roles import rights_of, temporary_role
from tests.support.databases import Database

ROOT = Path(__file__).parents[2]
GRAFANA = ROOT / "sql" / "grafana"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
DOCUMENT = (ROOT / "docs" / "grafana.md").read_text()

BOARDS = [
    json.loads((GRAFANA / f"{name}.json").read_text()) for name in ("analytics", "operations")
]
SOURCES: list[dict[str, Any]] = yaml.safe_load((GRAFANA / "datasources.yml").read_text())[
    "datasources"
]
RULES: list[dict[str, Any]] = yaml.safe_load((GRAFANA / "alerts.yml").read_text())["groups"][0][
    "rules"
]

INSTANTS = {"$__timeFrom()": "'2025-05-01T00:00:00Z'", "$__timeTo()": "'2025-05-30T00:00:00Z'"}
"""What Grafana puts in the place of its macros."""

NUMBERS = {"int2", "int4", "int8", "float4", "float8", "numeric"}


class Question(NamedTuple):
    """A statement of a panel or of an alert."""

    asker: dict[str, Any]
    kind: str
    statement: str
    is_series: bool


def panels() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield each panel that shows something, with its dashboard."""
    for board in BOARDS:
        yield from ((board, panel) for panel in board["panels"] if panel["type"] != "row")


def questions() -> Iterator[Question]:
    """Yield what is asked in SQL."""
    for board, panel in panels():
        for target in panel["targets"]:
            if "rawSql" in target:
                text = filled_in(target["rawSql"], board)
                yield Question(panel, panel["type"], text, target["format"] == "time_series")
    for rule in RULES:
        for part in rule["data"]:
            if "rawSql" in part["model"]:
                yield Question(rule, "alert", part["model"]["rawSql"], is_series=False)


def expressions() -> Iterator[str]:
    """Yield what is asked in PromQL."""
    for _, panel in panels():
        yield from (target["expr"] for target in panel["targets"] if "expr" in target)
    for rule in RULES:
        yield from (part["model"]["expr"] for part in rule["data"] if "expr" in part["model"])


def filled_in(statement: str, board: dict[str, Any]) -> str:
    """Return a statement as Grafana sends it."""
    for macro, value in INSTANTS.items():
        statement = statement.replace(macro, value)
    for variable in board["templating"]["list"]:
        name, value = variable["name"], variable["current"]["value"]
        statement = statement.replace(f"${{{name}:sqlstring}}", f"'{value}'")
        statement = statement.replace(f"${name}", value)
    assert "$" not in statement, statement
    return statement


QUESTIONS = list(questions())
TITLES = [question.asker["title"] for question in QUESTIONS]


@pytest.fixture
def grafana(database: Database) -> Iterator[Database]:
    """A connection with the rights that sql/grafana/roles.sh gives, to a database with events."""
    for place, (kind, payload) in enumerate(
        (
            ("view", {"url": "https://example.com/a"}),
            ("click", {"element_id": "buy"}),
            ("location", {"latitude": 52.5, "longitude": 13.4}),
        )
    ):
        database.execute(
            "insert into events (timestamp, event_id, user_id, event_type, payload) "
            "values ('2025-05-05 12:00Z', %s, 'somebody', %s, %s)",
            [f"00000000-0000-7000-8000-00000000000{place}", kind, json.dumps(payload)],
        )
    database.execute(
        "insert into rejected_events (event_id, site_id, reason, body) "
        "values ('00000000-0000-7000-8000-000000000009', 1, 'of a test', '')"
    )
    with temporary_role(database) as role:
        member = sql.SQL("grant tallymark_ops, tallymark_read to {}").format(sql.Identifier(role))
        database.execute(member)
        with rights_of(database, role):
            yield database
    database.execute("truncate rejected_events")
    database.execute("delete from events")


def types_of(cursor: psycopg.Cursor[Any], database: Database) -> dict[str, str]:
    """Return the columns of a result, and the names of their types."""
    assert cursor.description is not None
    types = database.adapters.types
    return {
        column.name: found.name if (found := types.get(column.type_code)) else "other"
        for column in cursor.description
    }


@pytest.mark.parametrize("question", QUESTIONS, ids=TITLES)
def test_what_is_asked_in_sql_can_be_answered(question: Question, grafana: Database) -> None:
    columns = types_of(cursor := grafana.execute(question.statement.encode()), grafana)
    cursor.fetchall()
    numbers = [name for name, kind in columns.items() if kind in NUMBERS]
    if question.is_series:
        assert columns["time"] == "timestamptz"
        assert set(columns) - {"time", "metric"} == set(numbers)
        assert columns.get("metric", "text") == "text"
    if question.kind in {"stat", "alert"}:
        assert len(numbers) == 1, "one number is shown, or compared"
    if question.kind == "geomap":
        assert {"latitude", "longitude"} <= set(numbers)
    for override in question.asker.get("fieldConfig", {}).get("overrides", []):
        wanted = override["matcher"]["options"]
        assert any(re.fullmatch(wanted, name) for name in columns), f"{wanted} is no column"


def test_the_figures_are_the_counted_ones(grafana: Database) -> None:
    answers = {
        question.asker["title"]: grafana.execute(question.statement.encode()).fetchall()
        for question in QUESTIONS
        if question.asker["title"]
        in {"Events", "By type", "Active users", "Top pages", "Locations"}
    }
    assert answers["Events"] == [(3,)]
    assert answers["Active users"] == [(1,)]
    assert answers["By type"] == [("click", 1), ("location", 1), ("view", 1)]
    assert answers["Top pages"] == [("/a", 1)]
    assert [row[1:] for row in answers["Locations"]] == [(52.5, 13.4)]


def test_grafana_changes_nothing_and_sees_no_more(grafana: Database) -> None:
    for statement in (
        "delete from events",
        "insert into retention default values",
        "select * from rejected_events",
        "select * from ingest_minutes",
        "call grant_read_access()",
    ):
        with pytest.raises(errors.InsufficientPrivilege):
            grafana.execute(statement.encode())


def test_each_view_is_on_the_operations_dashboard() -> None:
    asked = " ".join(question.statement for question in QUESTIONS)
    assert [one.name for one in load_dashboards() if f"ops.{one.name}" not in asked] == []


def test_what_is_asked_of_prometheus_is_measured() -> None:
    measured = {"up"} | {name for metric in REGISTRY.collect() for name in series_of(metric)}
    for expression in expressions():
        asked = set(re.findall(r"\b(?:tallymark_\w+|up)\b(?=[\[{)])", expression))
        assert asked, expression
        assert asked <= measured, expression


def series_of(metric: Metric) -> list[str]:
    """Return the names of a metric's series."""
    endings = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
    return [metric.name + ending for ending in endings.get(metric.type, [""])]


def test_all_ask_a_source_that_there_is() -> None:
    known = {source["uid"] for source in SOURCES} | {"__expr__"}
    asked = {target["datasource"]["uid"] for _, panel in panels() for target in panel["targets"]}
    asked |= {part["datasourceUid"] for rule in RULES for part in rule["data"]}
    assert asked <= known


def test_names_are_given_once() -> None:
    uids = [rule["uid"] for rule in RULES] + [board["uid"] for board in BOARDS]
    assert len(set(uids)) == len(uids)
    for board in BOARDS:
        ids = [panel["id"] for panel in board["panels"]]
        assert len(set(ids)) == len(ids)


def test_each_alert_compares_what_it_asks_for_and_is_documented() -> None:
    for rule in RULES:
        value, limit = rule["data"]
        assert (value["refId"], limit["refId"]) == ("value", rule["condition"])
        assert "value" in limit["model"]["expression"]
        assert f"| {rule['title']} |" in DOCUMENT


def test_compose_mounts_what_there_is() -> None:
    mounted = {
        volume.split(":")[0].removeprefix("./sql/grafana/")
        for service in COMPOSE["services"].values()
        for volume in service.get("volumes", [])
        if volume.startswith("./sql/grafana/")
    }
    assert mounted == {file.name for file in GRAFANA.iterdir()}
    assert COMPOSE["services"]["grafana"]["environment"].keys() >= set(
        re.findall(
            r"(?<!\$)\$([A-Z_]+)", "".join(file.read_text() for file in GRAFANA.glob("*.yml"))
        )
    )


GETENV = "\\getenv password GRAFANA_DB_PASSWORD\n"
"""psql's: an argument would be seen by everybody on the machine."""


def test_the_script_makes_the_role(empty_database_url: str, native: bool, tmp_path: Path) -> None:
    """The script's SQL, with roles of this test's own, since roles are the whole server's."""
    text = (GRAFANA / "roles.sh").read_text()
    (statements,) = re.findall(r"<<'SQL'\n(.*)^SQL$", text, re.DOTALL | re.MULTILINE)
    assert subprocess.run(["sh", "-n", GRAFANA / "roles.sh"], check=False).returncode == 0
    with psycopg.connect(empty_database_url) as connection:
        # The image has it before the script runs.
        connection.execute("create extension if not exists timescaledb")
        for name in ("tallymark_ops", "tallymark_read", "grafana"):
            statements = re.sub(rf"\b{name}\b", f"of_a_test_{name}", statements)
        statements = statements.replace(GETENV, "").replace(":'password'", "'hush'")
        connection.execute(statements.encode())
        refused = "select has_function_privilege('of_a_test_grafana', oid, 'execute') from pg_proc "
        refused += "where proname = 'add_job'"
        assert connection.execute(refused.encode()).fetchall() == [(False,)]
        settings = connection.execute(
            "select rolconfig from pg_roles where rolname = 'of_a_test_grafana'"
        ).fetchone()
        connection.rollback()
    assert settings == (["statement_timeout=30s", "default_transaction_read_only=on"],)
