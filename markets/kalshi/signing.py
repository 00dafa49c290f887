"""Signs requests: three headers over timestamp, method and path; and reads the private keys that do it.

RSA keys sign with PSS (SHA-256, salt as long as the digest), Ed25519 keys as they are; which one it is is told by the
parsed key, never by the header line. Source: Kalshi trade API v2, "API keys" and "Quick start: authenticated requests".
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import time
from collections.abc import Collection
from typing import Literal
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from markets.kalshi.errors import BadKey as BadKey
from markets.kalshi.errors import RefusedByUs

PrivateKey = RSAPrivateKey | Ed25519PrivateKey
KeyType = Literal["rsa", "ed25519"]

KEY_TEXT_MOST = 64 * 1024
RSA_BITS_LEAST = 2048
RSA_BITS_MOST = 8192
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)
_PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.DIGEST_LENGTH)


class Signer:
    """Signs in the name of one key. Safe to use from several threads."""

    __slots__ = ("_key", "key_id")

    def __init__(self, key_id: str, private_key: PrivateKey) -> None:
        if not key_id.isascii() or not key_id.isprintable() or not key_id.strip():
            raise BadKey("The key id must be the id that the exchange shows, in plain characters.")
        self.key_id = key_id
        self._key = private_key

    def __repr__(self) -> str:
        return "Signer(…)"

    def __reduce__(self) -> str:
        raise TypeError("a signer is not to be copied elsewhere")

    def headers(self, method: str, path: str, *, now_ms: int | None = None) -> dict[str, str]:
        """Return the three headers for a request; `path` begins at the host's root, a query is not signed."""
        stamp = str(time.time_ns() // 1_000_000 if now_ms is None else now_ms)
        text = f"{stamp}{method.upper()}{path.partition('?')[0]}".encode()
        return {
            "KALSHI-ACCESS-KEY": self.key_id,
            "KALSHI-ACCESS-TIMESTAMP": stamp,
            "KALSHI-ACCESS-SIGNATURE": base64.b64encode(self._sign(text)).decode(),
        }

    def _sign(self, text: bytes) -> bytes:
        if isinstance(self._key, Ed25519PrivateKey):
            return self._key.sign(text)
        return self._key.sign(text, _PSS, hashes.SHA256())


def load_private_key(pem: bytes | str) -> PrivateKey:
    """Read and fully check a private key, as at its upload; costs up to 0.2 s.

    Takes CRLF, a missing last newline and a key pasted as one line. Raises BadKey.
    """
    return _load(_tidy(pem), is_checked=False)


def load_checked_pem(pem: bytes | str) -> PrivateKey:
    """Read a key that `load_private_key` has checked before; the costly checks of RSA are not repeated."""
    return _load(_tidy(pem), is_checked=True)


def pem_of(key: PrivateKey) -> bytes:
    """Return the key as PKCS#8 PEM, the form to keep (sealed)."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def key_type(key: PrivateKey) -> KeyType:
    """Return the exchange's name of the key's kind."""
    return "ed25519" if isinstance(key, Ed25519PrivateKey) else "rsa"


def fingerprint(key: PrivateKey) -> str:
    """Return the SHA-256 of the public key (SubjectPublicKeyInfo, DER) in hex."""
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(public).hexdigest()


def check_destination(url: str, *, hosts: Collection[str] | None, scheme: Literal["https", "wss"]) -> str:
    """Return the URL without a trailing slash if signed requests may go there. Raises RefusedByUs.

    A signature does not cover the body, so whoever receives one may send another order with it. Only TLS, or
    loopback, and only the hosts of the environment.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    plain = {"https": "http", "wss": "ws"}[scheme]
    if parts.scheme != scheme and not (parts.scheme == plain and host in LOOPBACK):
        raise RefusedByUs(f"The exchange's address must begin with {scheme}:// (or be this machine's own).")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise RefusedByUs("The exchange's address must be a plain address, without user, query or fragment.")
    if hosts is not None and host not in hosts:
        raise RefusedByUs("The exchange's address is not one of this environment's hosts.")
    return url.rstrip("/")


def _load(pem: bytes, *, is_checked: bool) -> PrivateKey:
    key: PrivateKeyTypes | None = None
    with contextlib.suppress(ValueError, TypeError, UnsupportedAlgorithm):
        key = serialization.load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=is_checked)
    # Raised here, not above: the library's own error could quote what was uploaded.
    if key is None:
        raise BadKey("The private key cannot be read; copy the whole file that the exchange gave you.")
    if isinstance(key, RSAPrivateKey):
        if not RSA_BITS_LEAST <= key.key_size <= RSA_BITS_MOST:
            raise BadKey(f"An RSA key has {RSA_BITS_LEAST} to {RSA_BITS_MOST} bits; make a new key at the exchange.")
        return key
    if isinstance(key, Ed25519PrivateKey):
        return key
    raise BadKey("The exchange takes RSA and Ed25519 keys; this is a key of another kind.")


def _tidy(pem: bytes | str) -> bytes:
    """Return the one private key in the text, its lines as they should be."""
    text = pem.decode("ascii", "replace") if isinstance(pem, bytes) else pem
    if len(text) > KEY_TEXT_MOST:
        raise BadKey("The text is too long for a private key.")
    blocks = _BLOCK.findall(text)
    if not blocks:
        raise BadKey("There is no private key in it; copy the whole file, with its BEGIN and END lines.")
    if len(blocks) > 1:
        raise BadKey("There is more than one key in it; give the private key alone.")
    label, body = blocks[0]
    _check_label(label, body)
    body = "".join(body.replace("\\r", "").replace("\\n", "").split())
    lines = [body[start : start + 64] for start in range(0, len(body), 64)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""]).encode("ascii", "replace")


def _check_label(label: str, body: str) -> None:
    if "ENCRYPTED" in label or "ENCRYPTED" in body:
        raise BadKey("The private key is locked with a password; give it without one.")
    if "PUBLIC" in label or "CERTIFICATE" in label:
        raise BadKey("This is a public key; the private key is needed.")
    if label == "OPENSSH PRIVATE KEY":
        raise BadKey("This is a key for SSH; give the key that the exchange gave you.")
