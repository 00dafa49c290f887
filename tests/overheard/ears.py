"""Where a local exchange can be heard in its own process: all that it decides to say, before any fault bends it.

Flat, so that a process which only has this folder in its path can use it as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

SOCKET = "/trade-api/ws/v2"


def attach(on_answer: Callable[[Any, Any], None], on_frame: Callable[[str], None]) -> Callable[[], None]:
    """Hear every exchange of this process from now on; what is returned, called, ends that.

    `on_answer` gets each request with its answer, a refused handshake too; `on_frame` the text of each frame.
    """
    from markets.sandbox.app import Application
    from markets.sandbox.sessions import Session
    from markets.sandbox.stream import Stream
    from markets.sandbox.web import Request

    decide, push, terminate, refuse = Application.decide, Session.push, Session.terminate, Stream._refuse

    def heard_decide(self: Any, request: Any) -> Any:
        answer, key = decide(self, request)
        on_answer(request, answer)
        return answer, key

    def heard_push(self: Any, subscription: Any, kind: str, text: str) -> None:
        on_frame(text)
        push(self, subscription, kind, text)

    def heard_terminate(self: Any, subscription: Any, code: int, reason: str) -> None:
        is_new = not subscription.is_dead
        terminate(self, subscription, code, reason)
        if is_new:
            on_frame(str(self._waiting[-1][1]))

    async def heard_refuse(self: Any, answer: Any, wire: Any, send: Any) -> None:
        on_answer(Request("GET", SOCKET, "", {}, b""), answer)
        await refuse(self, answer, wire, send)

    def put(*methods: Any) -> None:
        owners = ((Application, "decide"), (Session, "push"), (Session, "terminate"), (Stream, "_refuse"))
        for (owner, name), method in zip(owners, methods, strict=True):
            setattr(owner, name, method)

    put(heard_decide, heard_push, heard_terminate, heard_refuse)
    return lambda: put(decide, push, terminate, refuse)
