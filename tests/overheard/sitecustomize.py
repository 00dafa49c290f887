"""Writes down what local exchanges in a process of their own decide to say; only tests put this file in their way.

Python imports a module of this name at its start. A process that becomes an exchange writes lines of JSON into a file
of its own in the folder that KALSHIWEB_OVERHEAR names: who it is, then each frame, and each answer with its request.
"""

from __future__ import annotations

import os
import sys
from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib is dear in every process
EXCHANGE = "markets.sandbox.app"


class Notebook:
    """The file of this process, made when the first word falls."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._file: Any = None
        self._pid = 0

    def write(self, said: dict[str, Any]) -> None:
        """Write one line, at once: a process that is killed has written all but the last."""
        import json
        import time

        if self._file is None or self._pid != os.getpid():
            self._pid = os.getpid()
            path = os.path.join(self._folder, f"{self._pid}-{time.monotonic_ns()}.jsonl")  # noqa: PTH118
            self._file = open(path, "a", buffering=1)  # noqa: PTH123, SIM115 - for as long as the process lives
            self._file.write(json.dumps({"process": self._pid, "command": sys.orig_argv[1:]}) + "\n")
        self._file.write(json.dumps(said) + "\n")

    def answer(self, request: Any, answer: Any) -> None:
        """Write an answer down."""
        kind = dict(answer.header_pairs()).get(b"content-type", b"").decode()
        said = {"method": request.method, "path": request.path, "status": answer.status, "kind": kind}
        self.write(said | {"body": answer.body.decode()})

    def frame(self, text: str) -> None:
        """Write a frame down."""
        self.write({"frame": text})


class Noticing:
    """Notices that the process becomes an exchange, and listens from then on."""

    def __init__(self, notebook: Notebook) -> None:
        self._notebook = notebook

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Find the exchange's application as everybody would, and listen once it is there."""
        if name != EXCHANGE:
            return None
        from importlib.util import find_spec

        sys.meta_path.remove(self)
        found = find_spec(name)
        if found is not None and found.loader is not None:
            self._follow(found.loader)
        return found

    def _follow(self, loader: Any) -> None:
        execute = loader.exec_module

        def execute_and_listen(module: Any) -> None:
            from importlib import import_module

            execute(module)
            import_module("ears").attach(self._notebook.answer, self._notebook.frame)

        loader.exec_module = execute_and_listen


def give_way() -> None:
    """Run the file of this name that this one stands before, if there is one."""
    for folder in sys.path:
        path = os.path.join(folder, "sitecustomize.py")  # noqa: PTH118
        if os.path.abspath(folder) != HERE and os.path.isfile(path):  # noqa: PTH100, PTH113
            with open(path, encoding="utf-8") as file:  # noqa: PTH123
                exec(compile(file.read(), path, "exec"), {"__name__": "sitecustomize", "__file__": path})  # noqa: S102
            return


if __name__ == "sitecustomize":
    if os.environ.get("KALSHIWEB_OVERHEAR"):
        sys.meta_path.insert(0, Noticing(Notebook(os.environ["KALSHIWEB_OVERHEAR"])))
    give_way()
