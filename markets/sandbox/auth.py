"""Who signs: API keys of members, and the proof that a request was signed with one.

Signed is timestamp (ms) + METHOD + path without query; RSA-PSS with SHA-256 and any salt length, or Ed25519.
Source: Kalshi trade API v2, "API keys" and 401 bodies recorded on the demo exchange in June 2026.
"""

from __future__ import annotations

import base64
import binascii
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa

from markets.sandbox.errors import unauthenticated

PublicKey = rsa.RSAPublicKey | ed25519.Ed25519PublicKey
KeyType = Literal["rsa", "ed25519"]

SCOPES = frozenset(
    {
        "read",
        "read::block_trade_accept",
        "read::portfolio_balance",
        "write",
        "write::block_trade_accept",
        "write::fcm_risk",
        "write::trade",
        "write::transfer",
    }
)
DEFAULT_SCOPES = ("read", "write")
# ±5 s pass and −30 s does not on the event exchange; +30 s passed on another of its exchanges. The edges are a guess.
OLDEST_MS = 10_000
NEWEST_MS = 30_000

_PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.AUTO)
_SHA256 = hashes.SHA256()


class BadPublicKey(ValueError):
    """The text is no public key that the exchange takes."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key of one member; only its public half is kept."""

    key_id: str
    member: str
    name: str
    scopes: tuple[str, ...]
    public_key: PublicKey = field(repr=False)
    subaccount: int | None = None

    def allows(self, scope: str) -> bool:
        """Say whether the key holds this scope or its parent."""
        return scope in self.scopes or scope.partition("::")[0] in self.scopes

    def public_pem(self) -> str:
        """Return the public half as it is stored."""
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.public_key.public_bytes(serialization.Encoding.PEM, form).decode()


@dataclass(slots=True)
class Signatures:
    """Every key of the exchange, and the window in which a timestamp is taken."""

    keys: dict[str, ApiKey] = field(default_factory=dict)
    oldest_ms: int = OLDEST_MS
    newest_ms: int = NEWEST_MS

    def of_member(self, member: str) -> Iterator[ApiKey]:
        """Yield the member's keys, oldest first."""
        return (key for key in self.keys.values() if key.member == member)

    def add(self, key: ApiKey) -> None:
        """Let a key sign from now on."""
        self.keys[key.key_id] = key

    def remove(self, key_id: str) -> None:
        """Forget a key; what it signs next is refused."""
        del self.keys[key_id]

    def verify(self, headers: Mapping[str, str], method: str, path: str, now_ms: int) -> ApiKey:
        """Return the key that signed the request; raises Refusal with the 401 of what is wrong."""
        signature = headers.get("kalshi-access-signature", "")
        stamp = headers.get("kalshi-access-timestamp", "")
        if not signature or not stamp:
            raise unauthenticated("missing")
        # Twenty digits are beyond any window, and beyond what may be read as a number without a thought.
        if not stamp.isdecimal() or len(stamp) > 20 or not -self.oldest_ms <= int(stamp) - now_ms <= self.newest_ms:
            raise unauthenticated("expired")
        key = self.keys.get(headers.get("kalshi-access-key", ""))
        if key is None:
            raise unauthenticated("unknown_key")
        if not is_signed_by(key.public_key, signature, f"{stamp}{method}{path}".encode()):
            raise unauthenticated("bad_signature")
        return key


def is_signed_by(key: PublicKey, signature: str, signed: bytes) -> bool:
    """Say whether the base64 text is this key's signature of these bytes."""
    try:
        raw = base64.b64decode(signature, validate=True)
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(raw, signed)
        else:
            key.verify(raw, signed, _PSS, _SHA256)
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def generate(key_type: KeyType) -> tuple[PublicKey, str]:
    """Make a pair; return its public half and the private PEM in the form that the exchange hands out."""
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    if key_type == "ed25519":
        made = ed25519.Ed25519PrivateKey.generate()
        pem = made.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain)
        return made.public_key(), pem.decode()
    pair = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = pair.private_bytes(encoding, serialization.PrivateFormat.TraditionalOpenSSL, plain)
    return pair.public_key(), pem.decode()


def load_public(pem: str) -> PublicKey:
    """Read a member's own public key; raises BadPublicKey."""
    try:
        found = serialization.load_pem_public_key(pem.encode())
    except (ValueError, TypeError, UnicodeError) as exc:
        raise BadPublicKey("not a PEM public key") from exc
    if isinstance(found, rsa.RSAPublicKey | ed25519.Ed25519PublicKey):
        return found
    raise BadPublicKey("neither RSA nor Ed25519")


def new_key(
    member: str,
    name: str,
    *,
    public_key: PublicKey,
    scopes: tuple[str, ...] = DEFAULT_SCOPES,
    subaccount: int | None = None,
) -> ApiKey:
    """Return a key with an id of its own."""
    return ApiKey(str(uuid.uuid4()), member, name, scopes, public_key, subaccount)
