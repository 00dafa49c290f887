"""Writes down what a local exchange in a process of its own decides to say; only tests put this file in its way.

Python imports a module of this name at its start. Lines of JSON go to the file that KALSHIWEB_OVERHEAR names: a frame,
or an answer with its request.
"""

from __future__ import annotations

import os
import sys


def overhear(path: str) -> None:
    """Write every answer and frame of this process to a file, in the form that `tests.overheard` reads."""
    import json
    from pathlib import Path
    from typing import Any

    from markets.sandbox.app import Application
    from markets.sandbox.sessions import Session

    file = Path(path).open("a", buffering=1)  # noqa: SIM115  (for as long as the process lives)
    decide, push = Application.decide, Session.push

    def heard_decide(self: Any, request: Any) -> Any:
        answer, key = decide(self, request)
        kind = dict(answer.header_pairs()).get(b"content-type", b"").decode()
        said = {"method": request.method, "path": request.path, "status": answer.status, "kind": kind}
        file.write(json.dumps(said | {"body": answer.body.decode()}) + "\n")
        return answer, key

    def heard_push(self: Any, subscription: Any, kind: str, text: str) -> None:
        file.write(json.dumps({"frame": text}) + "\n")
        push(self, subscription, kind, text)

    Application.decide = heard_decide  # type: ignore[method-assign]
    Session.push = heard_push  # type: ignore[method-assign]


if "run_sandbox" in sys.orig_argv and os.environ.get("KALSHIWEB_OVERHEAR"):
    overhear(os.environ["KALSHIWEB_OVERHEAR"])
