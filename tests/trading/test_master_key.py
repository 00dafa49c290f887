"""`master_key`: the ring turns while the desk goes on, and a stop at any moment loses nothing."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from kalshiweb.management.commands import master_key
from tests.trading import keyexchange
from tests.trading.keyexchange import KeyExchange
from trading import clients, keys, setup
from trading.models import ApiKey, AuditEntry
from trading.ring import KeyRing

pytestmark = pytest.mark.django_db


@pytest.fixture
def exchange(settings: Any, tmp_path: Path) -> Iterator[KeyExchange]:
    """Run an exchange that knows keys, beside a ring of the test's own."""
    settings.KALSHIWEB_DATA_DIR = tmp_path
    with keyexchange.running(settings) as found:
        yield found


@pytest.fixture
def stored(exchange: KeyExchange) -> list[ApiKey]:
    """Return five stored keys."""
    desk = setup.create_team("Alice's desk", owner="alice", environment="sandbox")
    made = [exchange.make_key() for _ in range(5)]
    return [
        keys.add(desk.owner, account=desk.account, name=f"key {at}", key_id=key.key_id, pem=key.pem)
        for at, key in enumerate(made)
    ]


def run(verb: str) -> str:
    """Run the command and return what it printed."""
    out = StringIO()
    call_command("master_key", verb, stdout=out)
    return out.getvalue()


def test_check_opens_every_key_and_names_master_keys_by_their_ids(stored: list[ApiKey]) -> None:
    assert run("check") == f"{stored[0].kid}  in use   wraps 5\n5 stored keys, all open.\n"


def test_check_fails_on_a_damaged_key_and_names_its_row(stored: list[ApiKey]) -> None:
    ApiKey.objects.filter(pk=stored[2].pk).update(ciphertext=b"\0" * 40)

    with pytest.raises(CommandError, match="1 of 5 stored keys do not open"):
        run("check")


def test_check_tells_a_missing_master_key(stored: list[ApiKey], tmp_path: Path) -> None:
    (tmp_path / "master.keys").unlink()

    with pytest.raises(CommandError, match="5 of 5 stored keys do not open"):
        run("check")


def test_the_ring_turns_while_keys_are_in_use(stored: list[ApiKey]) -> None:
    old, ciphertexts = stored[0].kid, [bytes(key.ciphertext) for key in stored]
    client = clients.rest_client(stored[0], purpose="read")

    run("rotate")
    assert client.account_limits().usage_tier == "basic"
    assert "5 stored keys wrapped anew" in run("rewrap")
    assert run("retire") == "1 master keys retired.\n"

    rows = ApiKey.objects.order_by("added_at")
    assert client.account_limits().usage_tier == "basic"
    assert [bytes(row.ciphertext) for row in rows] == ciphertexts
    assert old not in {row.kid for row in rows}
    assert AuditEntry.objects.filter(action="key.rewrapped").count() == 5
    assert "5 stored keys, all open" in run("check")


@pytest.mark.parametrize("survived", range(5))
def test_a_rewrap_that_is_killed_goes_on_where_it_stopped(
    stored: list[ApiKey], monkeypatch: pytest.MonkeyPatch, survived: int
) -> None:
    run("rotate")
    whole = master_key._rewrap
    done: list[ApiKey] = []

    def killed(row: ApiKey) -> bool:
        if len(done) == survived:
            raise SystemExit("killed")
        done.append(row)
        return whole(row)

    monkeypatch.setattr(master_key, "_rewrap", killed)
    with pytest.raises(SystemExit):
        run("rewrap")
    monkeypatch.undo()

    assert "5 stored keys, all open" in run("check")
    assert f"{5 - survived} stored keys wrapped anew" in run("rewrap")
    assert run("retire") == "1 master keys retired.\n"


def test_a_master_key_that_still_wraps_is_not_retired(stored: list[ApiKey], tmp_path: Path) -> None:
    old = stored[0].kid
    run("rotate")

    assert run("retire") == f"0 master keys retired; {old} still wraps 5.\n"
    assert old in KeyRing(tmp_path).kids()


def test_a_key_removed_meanwhile_is_not_brought_back(stored: list[ApiKey]) -> None:
    run("rotate")
    seen = ApiKey.objects.select_related("account__team").get(pk=stored[0].pk)
    ApiKey.objects.filter(pk=seen.pk).update(kid="", wrapped_key=b"", ciphertext=b"")

    assert master_key._rewrap(seen) is False
    assert ApiKey.objects.get(pk=seen.pk).kid == ""


def test_a_ring_from_outside_is_not_turned_here(stored: list[ApiKey], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KALSHIWEB_MASTER_KEYS", "ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1+f4CBgoM=")

    with pytest.raises(CommandError, match="change it there"):
        run("rotate")
