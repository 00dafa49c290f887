"""What exchanges of other processes said: how they come to be overheard, and the reading of what they wrote down."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
VARIABLE = "KALSHIWEB_OVERHEAR"
UNHEARD = {VARIABLE: ""}  # in the environment of a child: this one is bent on purpose


def environment(folder: Path) -> dict[str, str]:
    """Return what makes every process started from here write down in a folder what its exchanges say."""
    others = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and Path(path) != HERE]
    return {"PYTHONPATH": os.pathsep.join([str(HERE), *others]), VARIABLE: str(folder)}


class Said(NamedTuple):
    """One line of what a process wrote down, and who it is."""

    process: int
    command: str
    words: dict[str, Any]


class Notes:
    """The files of one folder, each read once from its beginning to where its process has got."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[str, int] = {}
        self._who: dict[str, tuple[int, str]] = {}

    def fresh(self) -> Iterator[Said]:
        """Yield every whole line that has come since last time; a line that a killed process cut stays unread."""
        for entry in os.scandir(self.folder):
            if entry.stat().st_size > self._read.get(entry.name, 0):
                yield from self._lines(entry.name)

    def _lines(self, name: str) -> Iterator[Said]:
        with (self.folder / name).open("rb") as file:
            file.seek(self._read.get(name, 0))
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._read[name] = self._read.get(name, 0) + len(line)
                words = json.loads(line)
                if "process" in words:
                    self._who[name] = words["process"], " ".join(words["command"])
                else:
                    yield Said(*self._who[name], words)


# --- children that nobody would hear ------------------------------------------------------------------------


def is_deaf(command: Any, env: Mapping[str, str] | None) -> bool:
    """Say whether a Python started by a command in an environment would not be overheard."""
    first = str(command if isinstance(command, str | os.PathLike) else next(iter(command), ""))
    if env is None or first != sys.executable or env.get(VARIABLE) == "":
        return False
    return VARIABLE not in env or str(HERE) not in env.get("PYTHONPATH", "").split(os.pathsep)


def watch_children(complain: Callable[[str], None]) -> Callable[[], None]:
    """Complain of each child whose environment keeps it from being overheard; what is returned, called, ends that."""
    begin = subprocess.Popen.__init__

    def watched(self: Any, args: Any, *more: Any, **options: Any) -> None:
        if is_deaf(args, options.get("env")):
            complain(f"nobody would hear an exchange of {args!r}: hand the environment on")
        begin(self, args, *more, **options)

    subprocess.Popen.__init__ = watched  # type: ignore[method-assign]

    def end() -> None:
        subprocess.Popen.__init__ = begin  # type: ignore[method-assign]

    return end
