"""One running desk per data directory: a lock the kernel gives back whatever happens to its holder."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

NAME = "serve.lock"


class AlreadyRunning(Exception):
    """Another desk holds this data directory; the text is for the operator."""


def holder(data: Path) -> str | None:
    """Return what the desk that runs on `data` wrote about itself, or None; touches nothing."""
    try:
        fd = os.open(data / NAME, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.read(fd, 200).decode(errors="replace") or "starting"
    else:
        return None
    finally:
        os.close(fd)


class DataDirLock:
    """Holds `data` for this process; the file says who, and goes when we do."""

    def __init__(self, data: Path, description: str) -> None:
        self._path = data / NAME
        self._description = description
        self._fd = -1

    def __enter__(self) -> Self:
        """Take the lock or raise AlreadyRunning."""
        while True:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                found = os.read(self._fd, 200).decode(errors="replace")
                os.close(self._fd)
                raise AlreadyRunning(
                    f"This desk already runs ({found or 'starting'}): stop it first, or set KALSHIWEB_DATA_DIR."
                ) from None
            if self._is_still_the_file():
                break
            os.close(self._fd)  # the last holder removed it between our open and our lock
        os.ftruncate(self._fd, 0)
        os.write(self._fd, self._description.encode())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the file while it is still ours, then let go."""
        self._path.unlink(missing_ok=True)
        os.close(self._fd)

    def _is_still_the_file(self) -> bool:
        try:
            return self._path.stat().st_ino == os.fstat(self._fd).st_ino
        except FileNotFoundError:
            return False
