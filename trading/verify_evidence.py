"""Check a package of evidence out of a kalshiweb desk: run `python verify.py` beside its files.

Needs Python's standard library alone; the Ed25519 verification below follows RFC 8032, section 5.1.7.
Exit code 0: everything holds. 1: something does not, and it is named.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

PREFIX = 32  # hexadecimal digits of each row's hash in a checkpoint
P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)

Point = tuple[int, int, int, int]  # extended coordinates X, Y, Z, T with x = X/Z, y = Y/Z, x*y = T/Z


class Wrong(Exception):
    """Something does not hold; the text says what."""


def main(folder: Path) -> int:
    """Check the package in a folder, print what was found, return the exit code."""
    try:
        said = check(folder)
    except Wrong as exc:
        sys.stdout.write(f"DOES NOT HOLD: {exc}\n")
        return 1
    sys.stdout.write(said)
    return 0


def check(folder: Path) -> str:
    """Return what holds, for a person. Raises Wrong."""
    manifest_bytes = _read(folder, "manifest.json")
    key = public_key(_read(folder, "public_key.pem"))
    if not verifies(key, manifest_bytes, bytes.fromhex(_read(folder, "manifest.sig").decode())):
        raise Wrong("the manifest was not signed with this key")
    manifest = json.loads(manifest_bytes)
    for name, digest in manifest["files"].items():
        if hashlib.sha256(_read(folder, name)).hexdigest() != digest:
            raise Wrong(f"{name} was changed")
    fingerprint = hashlib.sha256(key).hexdigest()
    if manifest["key"] != fingerprint:
        raise Wrong("the manifest names another key")
    checkpoints = _lines(folder, "checkpoints.jsonl")
    for line in checkpoints:
        check_checkpoint(line, key, fingerprint)
    entries = _lines(folder, "entries.jsonl")
    for entry in entries:
        check_entry(entry, manifest["team"], checkpoints)
    if manifest["is_range"]:
        check_range(entries)
    return (
        f"HOLDS: {len(entries)} entries of {manifest['team_name']}, {manifest['what']}.\n"
        f"Signed with the key {fingerprint}: compare it with the one noted elsewhere.\n"
    )


def check_checkpoint(line: dict[str, Any], key: bytes, fingerprint: str) -> None:
    """Raise Wrong for a checkpoint that this key has not signed."""
    signed = {name: value for name, value in line.items() if name != "signature"}
    if line["key"] != fingerprint or not verifies(key, canonical(signed), bytes.fromhex(line["signature"])):
        raise Wrong(f"the checkpoint of rows {line['first']} to {line['number']} was not signed with this key")


def check_entry(entry: dict[str, Any], team: str, checkpoints: list[dict[str, Any]]) -> None:
    """Raise Wrong for an entry whose hash is not that of its content, or not the one that was signed."""
    row, number = entry["row"], entry["row"]["number"]
    digest = hashlib.sha256(entry["previous_hash"].encode() + canonical(row)).hexdigest()
    if digest != entry["hash"] or row["team"] != team:
        raise Wrong(f"row {number} was changed")
    for line in checkpoints:
        if line["team"] == team and line["first"] <= number <= line["number"]:
            start = (number - line["first"]) * PREFIX
            if line["rows"][start : start + PREFIX] == digest[:PREFIX]:
                return
            raise Wrong(f"row {number} is not the one that was signed")
    raise Wrong(f"no checkpoint knows row {number}")


def check_range(entries: list[dict[str, Any]]) -> None:
    """Raise Wrong where a row is missing between the first and the last."""
    for before, after in zip(entries, entries[1:]):  # noqa: B905, RUF007  (also for Python 3.9)
        if after["row"]["number"] != before["row"]["number"] + 1 or after["previous_hash"] != before["hash"]:
            raise Wrong(f"a row is missing after row {before['row']['number']}")


def canonical(value: Any) -> bytes:
    """Return JSON in the one form that is hashed and signed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError:
        raise Wrong(f"{name} is missing") from None


def _lines(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in _read(folder, name).splitlines()]


# --- Ed25519, RFC 8032 -----------------------------------------------------------------------------------------


def public_key(pem: bytes) -> bytes:
    """Return the 32 bytes of a public key out of its PEM: the last of its 44 bytes of DER."""
    der = base64.b64decode(b"".join(line for line in pem.splitlines() if not line.startswith(b"-----")))
    if len(der) != 44 or der[:12] != bytes.fromhex("302a300506032b6570032100"):
        raise Wrong("public_key.pem is no Ed25519 key")
    return der[12:]


def verifies(key: bytes, message: bytes, signature: bytes) -> bool:
    """Say whether a signature of a message is this key's."""
    if len(signature) != 64:
        return False
    point, nonce = _point(key), _point(signature[:32])
    scalar = int.from_bytes(signature[32:], "little")
    if point is None or nonce is None or scalar >= ORDER:
        return False
    challenge = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % ORDER
    return _same(_times(scalar, _BASE), _add(nonce, _times(challenge, point)))


def _point(encoded: bytes) -> Point | None:
    """Decode a point; None for bytes that are none."""
    number = int.from_bytes(encoded, "little")
    sign, y = number >> 255, number & ((1 << 255) - 1)
    x = _x_of(y, sign)
    return None if x is None else (x, y, 1, x * y % P)


def _x_of(y: int, sign: int) -> int | None:
    if y >= P:
        return None
    squared = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(squared, (P + 3) // 8, P)
    if (x * x - squared) % P:
        x = x * ROOT % P
    if (x * x - squared) % P or (x == 0 and sign):
        return None
    return P - x if x & 1 != sign else x


def _add(one: Point, two: Point) -> Point:
    a, b = (one[1] - one[0]) * (two[1] - two[0]) % P, (one[1] + one[0]) * (two[1] + two[0]) % P
    c, d = 2 * one[3] * two[3] * D % P, 2 * one[2] * two[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def _times(scalar: int, point: Point) -> Point:
    result: Point = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            result = _add(result, point)
        point, scalar = _add(point, point), scalar >> 1
    return result


def _same(one: Point, two: Point) -> bool:
    return not ((one[0] * two[2] - two[0] * one[2]) % P or (one[1] * two[2] - two[1] * one[2]) % P)


_BASE_Y = 4 * pow(5, P - 2, P) % P
_BASE_X = _x_of(_BASE_Y, 0) or 0
_BASE: Point = (_BASE_X, _BASE_Y, 1, _BASE_X * _BASE_Y % P)

if __name__ == "__main__":
    raise SystemExit(main(Path(__file__).resolve().parent))
