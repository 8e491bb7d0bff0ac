"""`python -m service sites` and `keys`: what they change, what they print, and what they refuse."""

from datetime import timedelta
from hashlib import sha256
from typing import Any

import psycopg
import pytest

from service.access.keys import Kind, id_of, new_key
from service.access.records import AccessError, records
from tests.access.support import command, done, refused


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(query.encode()).fetchall()


def test_the_site_of_those_who_name_none_is_there(shared_database_url: str) -> None:
    assert rows(shared_database_url, "select id, name from sites where id = 1") == [(1, "default")]


def test_sites_are_created_listed_and_renamed(database_url: str) -> None:
    assert done(database_url, "sites", "create", "shop [b]") == "Site 2: shop [b]"
    listed = done(database_url, "sites", "list")
    assert "default" in listed
    assert "shop [b]" in listed
    assert done(database_url, "sites", "rename", "shop [b]", "store") == "Site 2: store"
    assert done(database_url, "sites", "rename", "1", "home") == "Site 1: home"
    query = "select id, name from sites order by id"
    assert rows(database_url, query) == [(1, "home"), (2, "store")]
    assert "already" in refused(database_url, "sites", "create", "store")
    assert "no site 'shop'" in refused(database_url, "sites", "rename", "shop", "x")


@pytest.mark.parametrize("name", ["", " ", "x" * 101, "12", "all", "a\nb"])
def test_a_name_that_is_none_is_refused(shared_database_url: str, name: str) -> None:
    with (
        records(shared_database_url) as known,
        pytest.raises(AccessError, match="1 to 100 characters"),
    ):
        known.create_site(name)


def test_a_key_is_shown_once_and_only_its_hash_is_kept(database_url: str) -> None:
    key = done(database_url, "keys", "create", "write", "--label", "front page")
    assert key.startswith("tmw_")
    (row,) = rows(database_url, "select * from keys")
    assert row[:5] == (key[4:14], "write", 1, sha256(key.encode()).digest(), "front page")
    secret = key[15:]
    assert len(bytes.fromhex(secret)) == 32
    dumped = rows(database_url, "select keys::text from keys")[0][0]
    listed = done(database_url, "keys", "list")
    assert key[4:14] in listed
    assert "front page" in listed
    assert secret not in dumped + listed


def test_keys_are_rotated_and_revoked(database_url: str) -> None:
    old = done(database_url, "keys", "create", "read", "--site", "all", "--label", "grafana")
    new = done(database_url, "keys", "rotate", id_of(old), "--grace-hours", "2")
    assert old[:4] == new[:4] == "tmr_"
    query = """
        select id, site_id, label, round(extract(epoch from expires_at - now()) / 3600)
        from keys order by created_at
    """
    assert rows(database_url, query) == [
        (id_of(old), None, "grafana", 2),
        (id_of(new), None, "grafana", None),
    ]
    done(database_url, "keys", "revoke", id_of(old))
    listed = done(database_url, "keys", "list").splitlines()
    assert "revoked" in next(line for line in listed if id_of(old) in line)
    assert "not valid any more" in refused(database_url, "keys", "rotate", id_of(old))
    assert "not valid any more" in refused(database_url, "keys", "revoke", id_of(old))
    assert "no key 'x'" in refused(database_url, "keys", "revoke", "x")


def test_what_is_no_text_is_told(database_url: str) -> None:
    assert "UTF-8" in refused(database_url, "sites", "create", "caf\udce9")
    assert "UTF-8" in refused(database_url, "keys", "create", "write", "--label", "caf\udce9")


def test_a_rotation_says_when_the_new_key_ends(database_url: str) -> None:
    old = done(database_url, "keys", "create", "write")
    for ends in (False, True):
        rotated = command(database_url, "keys", "rotate", id_of(old))
        assert rotated.returncode == 0
        # The second time the old one has an end itself.
        assert ("It is valid until 20" in rotated.stderr) is ends, rotated.stderr


def test_a_key_s_days_begin_anew_when_it_is_rotated(database_url: str) -> None:
    with records(database_url) as known:
        old = known.create_key("admin", 1, "", timedelta(days=30))
        new = known.rotate(id_of(old), timedelta(days=90))
        lives = {key.id: key.expires_at - key.created_at for key in known.all_keys()}  # type: ignore[operator]
    # The old one does not live longer for it.
    assert lives == {id_of(old): timedelta(days=30), id_of(new): timedelta(days=30)}


def test_a_write_key_is_for_one_site_that_is_there(database_url: str) -> None:
    assert "one site" in refused(database_url, "keys", "create", "write", "--site", "all")
    assert "no site '2'" in refused(database_url, "keys", "create", "write", "--site", "2")
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        rows(database_url, "insert into keys values ('0123456789', 'write', 7, sha256(''), '')")
    with pytest.raises(psycopg.errors.CheckViolation):
        rows(database_url, "insert into keys values ('0123456789', 'write', null, sha256(''), '')")


def test_a_site_with_keys_can_t_go(database_url: str) -> None:
    with records(database_url) as known:
        known.create_key("read", 1, "")
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        rows(database_url, "delete from sites")


def test_without_the_schema_it_says_what_to_do(empty_database_url: str) -> None:
    assert "service migrate" in refused(empty_database_url, "keys", "list")


@pytest.mark.parametrize("kind", ["write", "read", "admin"])
def test_keys_are_different_and_of_one_form(kind: Kind) -> None:
    made = {new_key(kind) for _ in range(200)}
    assert len(made) == 200
    assert len({id_of(key) for key in made}) == 200
    assert {len(key) for key in made} == {79}
    assert all(key.replace("_", "").isalnum() for key in made)
