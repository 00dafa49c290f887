"""Private keys at rest: envelope encryption, bound to the row and the team that a key belongs to.

Each record is encrypted under a random key of its own (AES-256-GCM); that key is wrapped by a master key, which
`trading.ring` or a key management service keeps. Purpose, team, row, key id and version are authenticated with both,
so a record that was changed, shortened, moved or set back does not open. There is no fallback: what does not open is
an error, and no error names what it was about.
Source: NIST SP 800-38D for AES-GCM; envelope encryption as in the OWASP Cryptographic Storage Cheat Sheet.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import sys
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.utils.module_loading import import_string
from django.views.decorators.debug import sensitive_variables

from trading.ring import CannotOpen, KeyRing

VERSION = 1
NONCE_BYTES = 12
KEY_BYTES = 32
PR_SET_DUMPABLE = 4

__all__ = ["Binding", "CannotOpen", "KeyProvider", "Sealed", "open_sealed", "provider", "rewrap", "seal"]


@dataclass(frozen=True, slots=True)
class Binding:
    """What a sealed record belongs to; it opens for exactly this."""

    purpose: str
    team: str
    row: str
    key_id: str

    def context(self, version: int) -> bytes:
        """Return the bytes that are authenticated: a list, so that no two bindings read the same."""
        return json.dumps(["kalshiweb", version, self.purpose, self.team, self.row, self.key_id]).encode()


@dataclass(frozen=True, slots=True)
class Sealed:
    """A record as it is stored: which master key wraps its own key, and both ciphertexts with their nonces."""

    version: int
    kid: str
    wrapped_key: bytes
    ciphertext: bytes


class KeyProvider(Protocol):
    """Who holds the master keys: a ring of this installation, or a key management service."""

    def wrap(self, key: bytes, context: bytes) -> tuple[str, bytes]:
        """Return the id of the master key in use and `key` wrapped by it, bound to `context`."""

    def unwrap(self, kid: str, wrapped: bytes, context: bytes) -> bytes:
        """Return the key; raise CannotOpen where the master key is missing or anything differs."""

    def knows(self, kid: str) -> bool:
        """Say whether this master key is at hand."""

    def current(self) -> str:
        """Return the id of the master key that wraps from now on; raise CannotOpen without one."""


def provider() -> KeyProvider:
    """Return who holds the master keys: the class that KALSHIWEB_KEY_PROVIDER names, or the installation's ring."""
    path = os.environ.get("KALSHIWEB_KEY_PROVIDER", "").strip()
    if path:
        return _named_provider(path)
    return KeyRing(settings.KALSHIWEB_DATA_DIR)


@sensitive_variables()
def seal(plaintext: bytes, binding: Binding) -> Sealed:
    """Encrypt under a new key and wrap that; the first call on a new installation makes its master key."""
    forbid_dumps()
    key = AESGCM.generate_key(bit_length=KEY_BYTES * 8)
    context = binding.context(VERSION)
    kid, wrapped = provider().wrap(key, context)
    nonce = os.urandom(NONCE_BYTES)
    return Sealed(VERSION, kid, wrapped, nonce + AESGCM(key).encrypt(nonce, plaintext, context))


@sensitive_variables()
def open_sealed(sealed: Sealed, binding: Binding) -> bytes:
    """Decrypt; raise CannotOpen if anything at all differs from what was sealed."""
    forbid_dumps()
    context = _context(sealed, binding)
    key = provider().unwrap(sealed.kid, sealed.wrapped_key, context)
    nonce, ciphertext = sealed.ciphertext[:NONCE_BYTES], sealed.ciphertext[NONCE_BYTES:]
    try:
        return AESGCM(key).decrypt(nonce, ciphertext, context)
    except (InvalidTag, ValueError):
        raise CannotOpen from None


@sensitive_variables()
def rewrap(sealed: Sealed, binding: Binding) -> Sealed:
    """Wrap the record's key by the master key of today; the ciphertext stays as it is, unread."""
    keys, context = provider(), _context(sealed, binding)
    kid, wrapped = keys.wrap(keys.unwrap(sealed.kid, sealed.wrapped_key, context), context)
    return Sealed(sealed.version, kid, wrapped, sealed.ciphertext)


@cache
def forbid_dumps() -> None:
    """Keep this process, which now holds key text, out of core files and from other processes' eyes."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def _context(sealed: Sealed, binding: Binding) -> bytes:
    if sealed.version != VERSION:
        raise CannotOpen
    return binding.context(sealed.version)


@cache
def _named_provider(path: str) -> KeyProvider:
    found: KeyProvider = import_string(path)()
    return found
