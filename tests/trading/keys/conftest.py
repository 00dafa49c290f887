"""An exchange that knows keys, and alice's desk beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.trading import keyexchange
from tests.trading.keyexchange import KeyExchange, MadeKey, pem_of
from trading import keys, setup
from trading.models import ApiKey
from trading.setup import Desk

KEY_ID = "a952bcbe-ec3b-4b5b-b8f9-11dae589608c"
GOOD = pem_of(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
PUBLIC = (
    Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    .public_key()
    .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    .decode()
)


@pytest.fixture
def exchange(settings: Any, tmp_path: Path) -> Iterator[KeyExchange]:
    """Run an exchange that knows keys, and a desk with its own ring of master keys."""
    settings.KALSHIWEB_DATA_DIR = tmp_path
    with keyexchange.running(settings) as found:
        yield found


@pytest.fixture
def desk(exchange: KeyExchange) -> Desk:
    """Return Alice's team."""
    return setup.create_team("Alice's desk", owner="alice", environment="sandbox")


@pytest.fixture
def key(desk: Desk, exchange: KeyExchange) -> ApiKey:
    """Return a stored key that may do everything."""
    return add(desk, exchange.make_key())


@pytest.fixture(scope="session")
def rsa_key() -> rsa.RSAPrivateKey:
    """Return one RSA key for all tests: making one costs time."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def add(desk: Desk, made: MadeKey, *, name: str = "trading") -> ApiKey:
    """Add a key in the owner's name."""
    return keys.add(desk.owner, account=desk.account, name=name, key_id=made.key_id, pem=made.pem)
