"""A desk as its user has it: started by its one command, reached through its pages, stopped by Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parent.parent.parent
START_SECONDS = 120
PORTS = range(20_000, 32_000)  # the system gives others, as other workers ask for all the time, to who wants any
CHROMIUM_SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def free_port() -> int:
    """Return a port of loopback that nobody has, nor is given by the system until somebody listens on it."""
    while True:
        port = secrets.choice(PORTS)  # for tests are all told the same `random`
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@dataclass
class RunningDesk:
    """One `serve` and what it said; `lines` grows while it runs."""

    process: subprocess.Popen[str]
    port: int
    sandbox_port: int
    data_dir: Path
    lines: list[str] = field(default_factory=list)
    ready: threading.Event = field(default_factory=threading.Event)  # or over before it was
    is_up: bool = False
    link: str = ""
    reader: threading.Thread | None = None
    sandbox_pid: int = 0  # at the start

    @property
    def url(self) -> str:
        """Address of the pages."""
        return f"http://localhost:{self.port}"

    @property
    def sandbox_url(self) -> str:
        """Address of the local exchange, without its API's prefix."""
        return f"http://127.0.0.1:{self.sandbox_port}"

    def read(self, stream: TextIO) -> None:
        """Keep every line; notice the log-in link and the end of the start, or that there is nothing to wait for."""
        with stream:
            for line in stream:
                self.lines.append(line)
                if found := re.search(r"https?://\S+/welcome/\S+", line):
                    self.link = found.group()
                if re.search(r"ready", line, re.I) and str(self.port) in line:
                    self.is_up = True
                    self.ready.set()
        self.ready.set()

    def pids(self) -> dict[str, int]:
        """Return the process id of each part by its name."""
        found: dict[str, int] = json.loads((self.data_dir / "processes.json").read_text())
        return found

    def stop(self) -> int:
        """Press Ctrl-C if it runs, wait for the end, return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.wait()

    def kill(self) -> int:
        """End it without a chance to clear up, wait for the end, return the exit code."""
        self.process.kill()
        return self.wait()

    def wait(self) -> int:
        """Wait for the end and read its last lines."""
        code = self.process.wait(timeout=30)
        if self.reader is not None:
            self.reader.join(timeout=10)
        return code


def start(data_dir: Path, *options: str, port: int | None = None, sandbox_port: int | None = None) -> RunningDesk:
    """Run `manage.py serve` on a data directory and return when it says that it is ready."""
    port, sandbox_port = port or free_port(), sandbox_port or free_port()
    process = subprocess.Popen(
        [
            sys.executable,
            "manage.py",
            "serve",
            "--port",
            str(port),
            "--sandbox-port",
            str(sandbox_port),
            *options,
        ],
        cwd=ROOT,
        env={
            **os.environ,
            "KALSHIWEB_DATA_DIR": str(data_dir),
            "PYTHONUNBUFFERED": "1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    desk = RunningDesk(process, port, sandbox_port, data_dir)
    assert process.stdout is not None
    desk.reader = threading.Thread(target=desk.read, args=(process.stdout,), daemon=True)
    desk.reader.start()
    desk.ready.wait(START_SECONDS)
    if not desk.is_up:
        desk.kill()
        raise AssertionError("serve did not become ready:\n" + "".join(desk.lines[-60:]))
    desk.sandbox_pid = desk.pids()["sandbox"]
    return desk


def sign_in(page: Page, desk: RunningDesk) -> None:
    """Use the one-time link that a first run prints."""
    page.goto(desk.link)
    page.get_by_role("button", name=re.compile("sign in|log in|open", re.I)).click()
    page.wait_for_url(re.compile(r"/x/sandbox/"))
