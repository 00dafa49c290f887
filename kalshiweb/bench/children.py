"""A part of a bench in a process of its own, asked and answering in lines of JSON over its pipes.

A child ends when its standard input does, so none outlives the bench.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from queue import Empty, Queue
from typing import Any

PATIENCE_SECONDS = 60.0
END_SECONDS = 5.0

Answer = dict[str, Any]


class ChildFailed(Exception):
    """A part of the bench died or said nothing in time; the text says which."""


class Child:
    """One process running `python -m MODULE`."""

    def __init__(self, module: str, *arguments: str, env: Mapping[str, str] | None = None) -> None:
        self._name = module.rpartition(".")[2]
        self._process = subprocess.Popen(  # noqa: S603 - our own modules
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=dict(os.environ) | dict(env or {}),
            text=True,
        )
        self._lines: Queue[str] = Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Child:
        """Begin to use it."""
        return self

    def __exit__(self, *exc: object) -> None:
        """End it."""
        self.end()

    def tell(self, verb: str, **arguments: Any) -> None:
        """Ask for something without waiting for the answer; `answer` returns it later."""
        assert self._process.stdin is not None  # noqa: S101 - a pipe
        try:
            self._process.stdin.write(json.dumps({"verb": verb, **arguments}) + "\n")
            self._process.stdin.flush()
        except OSError:
            raise ChildFailed(f"{self._name} has died") from None

    def answer(self, patience: float = PATIENCE_SECONDS) -> Answer:
        """Return the next answer. Raises ChildFailed."""
        try:
            found: Answer = json.loads(self._lines.get(timeout=patience))
        except (Empty, ValueError):
            raise ChildFailed(f"{self._name} did not answer") from None
        if "failed" in found:
            raise ChildFailed(f"{self._name}: {found['failed']}")
        return found

    def ask(self, verb: str, *, patience: float = PATIENCE_SECONDS, **arguments: Any) -> Answer:
        """Ask for something and return the answer. Raises ChildFailed."""
        self.tell(verb, **arguments)
        return self.answer(patience)

    def end(self) -> None:
        """End the process and wait for it."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - a pipe
        with self._process.stdout:
            for line in self._process.stdout:
                self._lines.put(line)
        self._lines.put("")


def obey(verbs: Mapping[str, Callable[..., Answer]]) -> None:
    """Answer what the bench asks, in the calling thread, until it has gone; then end the process at once."""
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = verbs[asked.pop("verb")](**asked)
        except Exception as exc:
            answer = {"failed": f"{type(exc).__name__}: {exc}"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    os._exit(0)


def cpu() -> Answer:
    """Return this process's CPU time and the clock, in seconds."""
    return {"cpu": time.process_time(), "at": time.monotonic()}
