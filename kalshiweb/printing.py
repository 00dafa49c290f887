"""Log lines of all parts on one screen: aligned, one colour per part on a terminal."""

from __future__ import annotations

import os
from typing import TextIO

WIDTH = 8
COLOURS = {"valkey": 90, "sandbox": 33, "feed": 36, "worker": 35, "web": 32, "serve": 1}
# Valkey's advice for snapshots, which the embedded one never takes.
NOISE = ("WARNING Memory overcommit must be enabled",)


class Printer:
    """Writes whole lines with the name of the part in front."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._is_coloured = out.isatty() and "NO_COLOR" not in os.environ
        self._halves: dict[str, bytes] = {}

    def lines(self, name: str, chunk: bytes) -> None:
        """Print the complete lines of `chunk`; keep an unfinished one for the next call."""
        *whole, self._halves[name] = (self._halves.get(name, b"") + chunk).split(b"\n")
        for line in whole:
            text = line.decode(errors="replace").rstrip()
            if text and not any(noise in text for noise in NOISE):
                self._put(self._prefix(name) + text + "\n")

    def say(self, text: str) -> None:
        """Print a line of the supervisor itself."""
        self._put(self._prefix("serve") + text + "\n")

    def block(self, text: str) -> None:
        """Print lines without a name: the banner."""
        self._put(text)

    def _prefix(self, name: str) -> str:
        prefix = f"{name:<{WIDTH}}|"
        if self._is_coloured:
            prefix = f"\x1b[{COLOURS.get(name, 37)}m{prefix}\x1b[0m"
        return prefix + " "

    def _put(self, text: str) -> None:
        try:
            self._out.write(text)
            self._out.flush()
        except OSError:  # the terminal or the reader has gone: no reason to leave parts behind
            return
