"""The desk's web process for a bench: the real application with its log-ins under Daphne or uvicorn, the published way
beside it, and on demand the relay in the same process.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import daphne.server  # the reactor it installs must be the first
import django
from daphne.endpoints import build_endpoint_description_strings

from kalshiweb.bench.children import Answer, cpu, obey
from kalshiweb.bench.machine import rss_bytes

HOST = "127.0.0.1"
Serve = Callable[[Any, Callable[[asyncio.AbstractEventLoop, int], None]], None]


def application() -> Any:
    """Return the desk's application, with the published way on a path beside it."""
    from channels.auth import AuthMiddlewareStack
    from channels.routing import URLRouter
    from django.urls import path

    from kalshiweb.asgi import application as desk
    from kalshiweb.bench.naive import NaiveConsumer

    naive = AuthMiddlewareStack(URLRouter([path("ws/naive/", NaiveConsumer.as_asgi())]))

    async def route(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await (naive if scope["path"] == "/ws/naive/" else desk)(scope, receive, send)

    return route


def serve_with_daphne(served: Any, ready: Callable[[asyncio.AbstractEventLoop, int], None]) -> None:
    """Serve as `manage.py serve` does, until the process ends."""
    from twisted.internet import reactor

    endpoints = build_endpoint_description_strings(host=HOST, port=0)
    server = daphne.server.Server(served, endpoints, signal_handlers=False, verbosity=0)
    loop: asyncio.AbstractEventLoop = reactor._asyncioEventloop

    def look() -> None:
        if server.listening_addresses:
            ready(loop, server.listening_addresses[0][1])
        else:
            loop.call_later(0.01, look)

    loop.call_soon(look)
    asyncio.set_event_loop(loop)
    server.run()


def serve_with_uvicorn(served: Any, ready: Callable[[asyncio.AbstractEventLoop, int], None]) -> None:
    """Serve with the documented quicker server, until the process ends."""
    uvicorn = importlib.import_module("uvicorn")
    config = uvicorn.Config(
        served,
        host=HOST,
        port=0,
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        lifespan="off",
        log_level="error",
        loop="asyncio",
    )
    server = uvicorn.Server(config)

    async def run() -> None:
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        ready(asyncio.get_running_loop(), server.servers[0].sockets[0].getsockname()[1])
        await serving

    asyncio.run(run())


SERVERS: dict[str, Serve] = {"daphne": serve_with_daphne, "uvicorn": serve_with_uvicorn}


def log_ins(users: int) -> list[str]:
    """Return a cookie of a session for each of so many users. Blocks on the database."""
    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
    from django.contrib.sessions.backends.db import SessionStore

    cookies = []
    for number in range(users):
        user, _ = get_user_model()._default_manager.get_or_create(username=f"browser-{number}")
        session = SessionStore()
        session[SESSION_KEY] = str(user.pk)
        session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
        session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        session.save()
        cookies.append(f"{settings.SESSION_COOKIE_NAME}={session.session_key}")
    return cookies


def listen(loop: asyncio.AbstractEventLoop, port: int) -> None:
    """Obey the bench; in a thread of its own."""
    from kalshiweb.bench.raw import Raw
    from kalshiweb.bench.relaying import Relaying

    raw = Raw()

    def run(work: Coroutine[Any, Any, Answer]) -> Answer:
        return asyncio.run_coroutine_threadsafe(work, loop).result(120)

    obey(
        {
            "serve": lambda users: {"port": port, "cookies": log_ins(users)},
            "cpu": cpu,
            "memory": lambda: {"bytes": rss_bytes()},
            "empty": lambda: run(raw.empty()),
            "admit": lambda browsers: run(raw.admit(browsers)),
            "hub": lambda changes: run(raw.hub(changes)),
            "naive": lambda changes: run(raw.naive(changes)),
            **Relaying(loop).verbs(),
        }
    )


def main() -> None:
    """Make the scratch database and serve."""
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    serve = SERVERS[sys.argv[1] if len(sys.argv) > 1 else "daphne"]
    serve(application(), lambda loop, port: threading.Thread(target=listen, args=(loop, port), daemon=True).start())


if __name__ == "__main__":
    main()
