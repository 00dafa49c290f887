"""The folders this installation owns: what must survive, and where its sockets stand."""

from __future__ import annotations

import contextlib
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
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise env.BadSetting(f"The data directory {path} cannot be made: {exc.strerror}.") from None
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise env.BadSetting(f"The data directory {path} cannot be written to: give it to this user, or name another.")
    return path


def runtime_dir(data: Path) -> Path:
    """Return the private folder of this installation's sockets.

    A unix socket's path ends at 107 bytes, so it cannot stand below an arbitrary data directory:
    `$XDG_RUNTIME_DIR`, or a folder in /tmp that nobody else can have prepared for us.
    """
    digest = hashlib.sha256(str(data).encode()).hexdigest()[:12]
    base = Path(env.text("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    if len(str(base)) > 60 or not os.access(base, os.W_OK | os.X_OK):
        base = Path(tempfile.gettempdir())
    path = base / f"kalshiweb-{os.getuid()}-{digest}"
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
    except OSError as exc:
        raise env.BadSetting(f"The folder of the desk's sockets, {path}, cannot be made: {exc.strerror}.") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise env.BadSetting(f"{path} must be a folder of this user with mode 0700: remove it and start again.")
    return path


def secret_key(data: Path) -> str:
    """Return Django's secret key, made once and kept at 0600; of processes that start together all get the same."""
    path = data / "secret.key"
    try:
        if not path.exists():
            _publish(path, secrets.token_urlsafe(64))
        return _read_private(path)
    except OSError as exc:
        raise env.BadSetting(f"{path} cannot be used: {exc.strerror}.") from None


def _publish(path: Path, text: str) -> None:
    """Write a complete file beside its place and link it there: the first of two wins, and nobody reads half of one."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(name, path)
    finally:
        Path(name).unlink()


def _read_private(path: Path) -> str:
    if path.stat().st_mode & 0o077:
        raise env.BadSetting(f"{path} can be read by others: run chmod 600 on it.")
    if not (text := path.read_text().strip()):
        raise env.BadSetting(f"{path} is empty: remove it, and a new one is made.")
    return text
