"""The desk's keys against the local exchange itself: the first run, a rotation, the feed's handshake."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from kalshiweb.exchanges import Exchange
from markets.kalshi.feed import Connected
from markets.sandbox.running import Options, RunningSandbox
from tests.trading.canary import database_files, is_found
from trading import clients, keys, setup
from trading.models import ApiKey, AuditEntry
from trading.vault import Sealed, open_sealed

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def folder(settings: Any, tmp_path: Path) -> Iterator[Path]:
    """Run a small local exchange and return where it leaves its credentials."""
    settings.KALSHIWEB_DATA_DIR = tmp_path
    credentials = tmp_path / "credentials"
    sandbox = RunningSandbox(Options(markets=2, has_makers=False, credentials=credentials, tier="prime"))
    settings.EXCHANGES = {"sandbox": Exchange("sandbox", sandbox.rest_url, sandbox.ws_url)}
    yield credentials
    sandbox.stop()


def opened(key: ApiKey) -> Any:
    """Return a stored private key, as only the vault can."""
    sealed = Sealed(key.version, key.kid, bytes(key.wrapped_key), bytes(key.ciphertext))
    return load_pem_private_key(open_sealed(sealed, clients.binding(key)), None)


def test_the_first_run_exchanges_the_members_key_and_leaves_nothing_of_either(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    first: Any = load_pem_private_key((folder / "desk.pem").read_bytes(), None)

    assert setup.first_run(environment="sandbox", credentials_dir=folder) is not None

    key = ApiKey.objects.get(is_feed=True)
    with clients.rest_client(key, purpose="keys") as client:
        assert [known.api_key_id for known in client.api_keys()] == [key.key_id]
    told = [str(record.__dict__) for record in caplog.records] + [str(row.__dict__) for row in AuditEntry.objects.all()]
    files = [*database_files(), *(path for path in tmp_path.rglob("*") if path.is_file() and path.name != "rival.pem")]
    haystacks = [text.encode("utf-8", "replace") for text in told] + [path.read_bytes() for path in files]
    assert not is_found(first, haystacks)
    assert not is_found(opened(key), haystacks)


def test_a_rotated_key_goes_on_where_the_old_one_ended(folder: Path) -> None:
    setup.first_run(environment="sandbox", credentials_dir=folder)
    key = ApiKey.objects.get(is_feed=True)

    new = keys.rotate(key.added_by, key=key)

    with clients.rest_client(new, purpose="trade") as client:
        assert client.balance().dollars == 10_000
    assert (new.is_feed, new.scopes) == (True, ["read", "write"])


def test_the_lent_key_opens_the_feed(folder: Path) -> None:
    setup.first_run(environment="sandbox", credentials_dir=folder)
    connected = threading.Event()

    def hear(event: Any) -> None:
        if isinstance(event, Connected):
            connected.set()

    feed = clients.feed_client(ApiKey.objects.get(is_feed=True), on_event=hear)
    feed.start()
    try:
        assert connected.wait(10)
    finally:
        feed.stop()
