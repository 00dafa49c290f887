"""The surroundings of a bench's desk: a scratch directory, the environment of its processes, a store, open sockets."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kalshiweb import data_dir, valkey
from kalshiweb.bench.children import Child, ChildFailed

ORIGIN = "http://127.0.0.1:1"
START_SECONDS = 10.0


@contextmanager
def scratch() -> Iterator[Path]:
    """Lend a directory that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="kalshiweb-bench-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def child_env(folder: Path, *, redis_url: str = "") -> dict[str, str]:
    """Return the environment of a bench's process; nothing of the operator's own desk is touched."""
    return {
        "DJANGO_SETTINGS_MODULE": "kalshiweb.bench.settings",
        "KALSHIWEB_DATA_DIR": str(folder),
        "KALSHIWEB_EXCHANGE": "sandbox",
        "KALSHIWEB_LOG_LEVEL": "ERROR",
        "KALSHIWEB_ORIGINS": ORIGIN,
        "DATABASE_URL": "",
        "REDIS_URL": redis_url,
    }


@contextmanager
def store(folder: Path) -> Iterator[str]:
    """Run the embedded Valkey and lend its address."""
    socket = data_dir.runtime_dir(folder) / "valkey.sock"
    server = subprocess.Popen(valkey.command(socket), stdout=subprocess.DEVNULL)  # noqa: S603 - the wheel's own
    try:
        deadline = time.monotonic() + START_SECONDS
        while not valkey.answers(socket):
            if time.monotonic() > deadline:
                raise ChildFailed("the embedded Valkey did not answer")
            time.sleep(0.02)
        yield f"unix://{socket}?db=0"
    finally:
        server.kill()
        server.wait()


def connect(web: Child, browsers: Child, kind: str, count: int) -> None:
    """Open so many sockets to the web process. Raises ChildFailed."""
    served = web.ask("serve", users=-(-count // 40))
    browsers.ask("open", kind=kind, count=count, port=served["port"], cookies=served["cookies"], patience=120)
