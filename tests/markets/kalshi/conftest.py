"""Keys for the tests of the client; made once, an RSA key takes a while."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from markets.kalshi.signing import Signer


@pytest.fixture(scope="session")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65_537, key_size=2048)


@pytest.fixture(scope="session")
def ed25519_key() -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.generate()


@pytest.fixture
def signer(ed25519_key: ed25519.Ed25519PrivateKey) -> Signer:
    return Signer("key-1", ed25519_key)
