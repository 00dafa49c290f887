"""Finds pieces of a private key, in whatever form they may have been written down."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote_from_bytes

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.db import connection

WINDOW = 20


def database_files() -> list[Path]:
    """Return the database's file and those beside it (write-ahead log)."""
    name = Path(str(connection.settings_dict["NAME"]))
    return sorted(name.parent.glob(f"{name.name}*")) if name.exists() else []


def needles(key: Ed25519PrivateKey | RSAPrivateKey) -> set[bytes]:
    """Return every window of 20 bytes of a key's secret parts, in each form they may appear in."""
    found: set[bytes] = set()
    for secret in _secrets(key):
        hexadecimal = secret.hex().encode()
        forms = [
            secret,
            hexadecimal,
            hexadecimal.upper(),
            repr(secret)[2:-1].encode(),
            quote_from_bytes(secret).encode(),
        ]
        forms += [base64.b64encode(secret[shift:]) for shift in range(3)]
        forms.append(str(int.from_bytes(secret, "big")).encode())
        found |= {form[at : at + WINDOW] for form in forms for at in range(len(form) - WINDOW + 1)}
    return found


def is_found(key: Ed25519PrivateKey | RSAPrivateKey, haystacks: Iterable[bytes]) -> bool:
    """Say whether any piece of the key stands in any of the haystacks."""
    wanted = needles(key)
    return any(haystack[at : at + WINDOW] in wanted for haystack in haystacks for at in range(len(haystack)))


def _secrets(key: Ed25519PrivateKey | RSAPrivateKey) -> list[bytes]:
    if isinstance(key, Ed25519PrivateKey):
        return [key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())]
    numbers = key.private_numbers()
    return [number.to_bytes((number.bit_length() + 7) // 8, "big") for number in (numbers.d, numbers.p, numbers.q)]
