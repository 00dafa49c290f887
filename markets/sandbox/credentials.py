"""A first key for each member, written where any client of the trade API can read it.

For each member NAME.json names the key, its member and where the exchange is, and NAME.pem holds the private half; both
are for their owner's eyes alone.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from markets.sandbox import auth
from markets.sandbox.venue import Venue

OWNER_ONLY = 0o600


def write(venue: Venue, folder: Path, *, members: tuple[str, ...], port: int) -> None:
    """Give each member that has no key one, and write down where the exchange listens now."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in members:
        _write_member(venue, folder, name, port)


def _write_member(venue: Venue, folder: Path, name: str, port: int) -> None:
    member = venue.open_account(name)
    described, pem = folder / f"{name}.json", folder / f"{name}.pem"
    key_id = _known_key(described)
    if any(True for _ in venue.signatures.of_member(member.member_id)):
        if key_id is None:
            return  # the member signs with keys of its own that are kept elsewhere
    else:
        public_key, private_pem = auth.generate("rsa")
        key_id = venue.add_key(member, public_key).key_id
        _replace(pem, private_pem)
    facts = {
        "key_id": key_id,
        "private_key_file": str(pem.resolve()),
        "member": name,
        "rest_url": f"http://127.0.0.1:{port}/trade-api/v2",
        "ws_url": f"ws://127.0.0.1:{port}/trade-api/ws/v2",
    }
    _replace(described, json.dumps(facts, indent=2) + "\n")


def _known_key(described: Path) -> str | None:
    try:
        found = json.loads(described.read_text())["key_id"]
    except (OSError, ValueError, KeyError):
        return None
    return str(found)


def _replace(path: Path, content: str) -> None:
    """Write a file whole or not at all; nobody else can read it at any moment."""
    fresh = path.with_name(f"{path.name}.new")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, OWNER_ONLY)
    with os.fdopen(handle, "w") as file:
        file.write(content)
    fresh.replace(path)
