"""PostgreSQL and Redis of a test's own, on ports of their own: the machine's are never touched."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.journeys.desk import free_port

START_SECONDS = 20


def _missing(what: str) -> None:
    reason = f"no {what} on this machine: apt-get install {what}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def postgresql() -> Iterator[str]:
    """Run PostgreSQL on a new cluster; yield the DATABASE_URL of an empty database."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        _missing("postgresql")
    binaries, port = found[-1].parent, free_port()
    # In /tmp, where another user may go and a socket's path is short enough.
    with tempfile.TemporaryDirectory(prefix="kalshiweb-pg-", ignore_cleanup_errors=True) as folder:
        as_user = _another_user(folder)
        data = f"{folder}/data"
        initdb = [*as_user, binaries / "initdb", "-D", data, "-U", "desk", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run([str(part) for part in initdb], check=True, capture_output=True, cwd="/")
        server = [*as_user, binaries / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", folder]
        server += ["-c", "fsync=off", "-c", "max_connections=120"]
        with _running([str(part) for part in server], port):
            yield f"postgres://desk@127.0.0.1:{port}/postgres"


def _another_user(folder: str) -> list[str | Path]:
    """Return what makes a command another user's where this is root: the server refuses to run as root."""
    if os.getuid() != 0:
        return []
    shutil.chown(folder, "nobody", "nogroup")
    return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]


@contextmanager
def redis() -> Iterator[str]:
    """Run Redis, keeping nothing on disk; yield its REDIS_URL."""
    binary = shutil.which("redis-server")
    if binary is None:
        _missing("redis-server")
    port = free_port()
    with _running([str(binary), "--port", str(port), "--bind", "127.0.0.1", "--save", ""], port):
        yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def _running(command: list[str], port: int) -> Iterator[None]:
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
    try:
        _wait_for(server, port)
        yield
    finally:
        server.terminate()
        server.wait(timeout=30)


def _wait_for(server: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=0.5).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"{server.args!r} does not answer on port {port}")
