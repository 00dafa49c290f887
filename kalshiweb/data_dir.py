"""The folders this installation owns: what must survive, and where its sockets stand."""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
import tempfile
from pathlib import Path

from kalshiweb import env


def data_dir() -> Path:
    """Return the folder of database, keys and sandbox state, made 0700 where it is new."""
    default = Path.home() / ".local" / "share" / "kalshiweb"
    path = Path(env.text("KALSHIWEB_DATA_DIR", str(default))).expanduser().resolve()
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def runtime_dir(data: Path) -> Path:
    """Return the private folder of this installation's sockets.

    A unix socket's path ends at 107 bytes, so it cannot stand below an arbitrary data directory:
    `$XDG_RUNTIME_DIR`, or a folder in /tmp that nobody else can have prepared for us.
    """
    digest = hashlib.sha256(str(data).encode()).hexdigest()[:12]
    base = Path(env.text("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    if len(str(base)) > 60:
        base = Path(tempfile.gettempdir())
    path = base / f"kalshiweb-{os.getuid()}-{digest}"
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise env.BadSetting(f"{path} must be a folder of this user with mode 0700: remove it and start again.")
    return path


def secret_key(data: Path) -> str:
    """Return Django's secret key, made once and kept at 0600."""
    path = data / "secret.key"
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _read_private(path)
    with os.fdopen(fd, "w") as file:
        file.write(secrets.token_urlsafe(64))
    return _read_private(path)


def _read_private(path: Path) -> str:
    if path.stat().st_mode & 0o077:
        raise env.BadSetting(f"{path} can be read by others: run chmod 600 on it.")
    return path.read_text().strip()
