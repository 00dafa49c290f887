"""Check a package of evidence, or an archive, out of the record of a kalshiweb desk.

Run `python verify.py` beside a package's files, or `python verify.py FILE.zip` for a package or an archive as it is.
Needs Python's standard library alone, and little memory however large the file; the Ed25519 verification below follows
RFC 8032, section 5.1.7. Exit code 0: everything holds. 1: something does not, and it is named.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

PREFIX = 32  # hexadecimal digits of each row's hash in a checkpoint
READ_AT_ONCE = 1 << 20
UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RuntimeError,
)
P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)

Point = tuple[int, int, int, int]  # extended coordinates X, Y, Z, T with x = X/Z, y = Y/Z, x*y = T/Z
Opener = Callable[[str], IO[bytes]]  # a file of the package, by its name


class Wrong(Exception):
    """Something does not hold; the text says what."""


def main(place: Path) -> int:
    """Check the package in a folder or zip, print what was found, return the exit code."""
    try:
        said = check(place)
    except Wrong as exc:
        sys.stdout.write(f"DOES NOT HOLD: {exc}\n")
        return 1
    sys.stdout.write(said)
    return 0


def check(place: Path) -> str:
    """Return what holds in a folder or zip, for a person. Raises Wrong."""
    try:
        if place.is_dir():
            return _check(lambda name: (place / name).open("rb"))
        with zipfile.ZipFile(place) as packed:
            folder = packed.namelist()[0].split("/")[0]
            return _check(lambda name: packed.open(f"{folder}/{name}"))
    except OSError as exc:
        raise Wrong(f"{Path(exc.filename or place).name} is missing") from None
    except UNREADABLE as exc:
        raise Wrong(f"it cannot be read ({exc})") from None


def _check(opener: Opener) -> str:
    manifest_bytes = _read(opener, "manifest.json")
    key = public_key(_read(opener, "public_key.pem"))
    if not verifies(key, manifest_bytes, bytes.fromhex(_read(opener, "manifest.sig").decode())):
        raise Wrong("the manifest was not signed with this key")
    manifest = json.loads(manifest_bytes)
    for name, digest in manifest["files"].items():
        if _digest(opener, name) != digest:
            raise Wrong(f"{name} was changed")
    fingerprint = hashlib.sha256(key).hexdigest()
    if manifest["key"] != fingerprint:
        raise Wrong("the manifest names another key")
    checkpoints = _signed_checkpoints(opener, key, fingerprint)
    count = check_entries(_lines(opener, "entries.jsonl"), checkpoints, manifest)
    for _ in checkpoints:
        pass  # those that no entry asked for are checked as well
    return (
        f"HOLDS: {count} entries of {manifest['team_name']}, {manifest['what']}.\n"
        + "".join(f"Not in here: {elsewhere}.\n" for elsewhere in manifest.get("not_in_here", []))
        + f"Signed with the key {fingerprint}: compare it with the one noted elsewhere.\n"
    )


def _signed_checkpoints(opener: Opener, key: bytes, fingerprint: str) -> Iterator[dict[str, Any]]:
    """Yield the checkpoints in order. Raises Wrong for one that this key has not signed."""
    for line in _lines(opener, "checkpoints.jsonl"):
        signed = {name: value for name, value in line.items() if name != "signature"}
        if line["key"] != fingerprint or not verifies(key, canonical(signed), bytes.fromhex(line["signature"])):
            raise Wrong(f"the checkpoint of rows {line['first']} to {line['number']} was not signed with this key")
        yield line


def check_entries(
    entries: Iterator[dict[str, Any]], checkpoints: Iterator[dict[str, Any]], manifest: dict[str, Any]
) -> int:
    """Return how many entries there are. Raises Wrong for one that was changed or not signed, and where one is missing.

    Entries and checkpoints come in the order of their numbers, so that neither is held in memory.
    """
    archive, count, line, before = manifest.get("archive"), 0, None, None
    for entry in entries:
        number = check_entry(entry, manifest["team"])
        while line is None or line["number"] < number or line["team"] != manifest["team"]:
            line = next(checkpoints, None)
            if line is None:
                raise Wrong(f"no checkpoint knows row {number}")
        check_signed(entry, line)
        if before is not None and manifest["is_range"]:
            check_next(before, entry)
        if (
            before is None
            and archive
            and (number, entry["previous_hash"]) != (archive["first"], archive["previous_hash"])
        ):
            raise Wrong(f"the archive does not begin with row {archive['first']}")
        before, count = entry, count + 1
    last = (before["row"]["number"], before["hash"], count) if before else (0, "", 0)
    signed = (line["number"], line["hash"]) if line else (0, "")
    if archive and (last != (archive["through"], archive["hash"], archive["count"]) or signed != last[:2]):
        raise Wrong(f"the archive does not end with row {archive['through']}, where a checkpoint ends")
    return count


def check_entry(entry: dict[str, Any], team: str) -> int:
    """Return an entry's number. Raises Wrong where its hash is not that of its content."""
    row = entry["row"]
    digest = hashlib.sha256(entry["previous_hash"].encode() + canonical(row)).hexdigest()
    if digest != entry["hash"] or row["team"] != team:
        raise Wrong(f"row {row['number']} was changed")
    return int(row["number"])


def check_signed(entry: dict[str, Any], line: dict[str, Any]) -> None:
    """Raise Wrong for an entry that its checkpoint does not know, or knows otherwise."""
    number = entry["row"]["number"]
    if number < line["first"]:
        raise Wrong(f"no checkpoint knows row {number}")
    start = (number - line["first"]) * PREFIX
    if line["rows"][start : start + PREFIX] != entry["hash"][:PREFIX]:
        raise Wrong(f"row {number} is not the one that was signed")


def check_next(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Raise Wrong where a row is missing between two."""
    if after["row"]["number"] != before["row"]["number"] + 1 or after["previous_hash"] != before["hash"]:
        raise Wrong(f"a row is missing after row {before['row']['number']}")


def canonical(value: Any) -> bytes:
    """Return JSON in the one form that is hashed and signed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def _read(opener: Opener, name: str) -> bytes:
    with opener(name) as file:
        return file.read()


def _digest(opener: Opener, name: str) -> str:
    digest = hashlib.sha256()
    with opener(name) as file:
        while part := file.read(READ_AT_ONCE):
            digest.update(part)
    return digest.hexdigest()


def _lines(opener: Opener, name: str) -> Iterator[dict[str, Any]]:
    with opener(name) as file:
        for line in file:
            yield json.loads(line)


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
    raise SystemExit(main(Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).resolve().parent))
