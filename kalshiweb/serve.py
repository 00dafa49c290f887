"""`manage.py serve`: one command from a data directory to a desk that answers.

Imports no Django: the supervisor is up within a tenth of a second, and its parts read their modules
side by side.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import shutil
import socket
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

from kalshiweb import data_dir, env, lock, origins, valkey
from kalshiweb.exchanges import ENVIRONMENTS
from kalshiweb.parts import Desk, build, free_port
from kalshiweb.printing import Printer
from kalshiweb.processes import StartFailed, Supervisor
from kalshiweb.progress import Progress

PATIENCE_SECONDS = 60.0  # a start that takes longer says what it waits for, and so again
PORT_TAKEN = 2
INTERRUPTED = 130
MOST_PORTS = 65_535
SANDBOX_PORT = 8790  # where commands look for the local exchange unless they are told otherwise
LABELS = {
    "sandbox": "SANDBOX: an exchange on this computer, with play money",
    "demo": "DEMO: Kalshi's demo exchange, with play money",
    "production": "PRODUCTION: real money at Kalshi",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line of `serve`."""
    parser.add_argument("--port", type=int, default=env.number("KALSHIWEB_PORT", 8000), help="port of the pages")
    parser.add_argument("--bind", default=env.text("KALSHIWEB_BIND", "127.0.0.1"), help="address to listen on")
    parser.add_argument(
        "--exchange", choices=ENVIRONMENTS, default=env.choice("KALSHIWEB_EXCHANGE", "sandbox", ENVIRONMENTS)
    )
    parser.add_argument("--tape", action="append", default=[], metavar="FILE", help="recording the sandbox replays")
    parser.add_argument("--speed", type=float, help="how fast tapes run; 1 is as recorded")
    parser.add_argument("--loop", action="store_true", help="start tapes again at their end")
    parser.add_argument("--seed", type=int, help="seed of the sandbox's life")
    parser.add_argument("--sandbox-port", type=int, help="port of the local exchange; a free one unless given")
    parser.add_argument("--reset", action="store_true", help="forget the sandbox desk and begin anew")


def main(arguments: Sequence[str]) -> int:
    """Run the desk until Ctrl-C; return the exit code."""
    parser = argparse.ArgumentParser(prog="manage.py serve", description=__doc__)
    try:
        add_arguments(parser)
        return serve(parser.parse_args(arguments))
    except env.BadSetting as exc:
        return _refuse(str(exc), 1)
    except KeyboardInterrupt:  # before the supervisor took the signals over: nothing runs yet
        return INTERRUPTED


def serve(options: argparse.Namespace) -> int:
    """Check, lock, run. What is refused is refused before anything is started."""
    options.bind = origins.as_browsers_write(options.bind)
    data = data_dir.data_dir()
    if running := lock.holder(data):
        return _refuse(f"This desk already runs ({running}): stop it first, or set another KALSHIWEB_DATA_DIR.", 2)
    if (reason := _port_problem(options.bind, options.port)) is not None:
        return _refuse(reason, PORT_TAKEN)
    if options.sandbox_port == options.port and options.exchange == "sandbox":
        return _refuse(f"--port and --sandbox-port are both {options.port}: give them different ones.", PORT_TAKEN)
    if options.sandbox_port and (reason := _port_problem("127.0.0.1", options.sandbox_port, "--sandbox-port")):
        return _refuse(reason, PORT_TAKEN)
    desk = Desk(
        data=data,
        runtime=data_dir.runtime_dir(data),
        environment=options.exchange,
        bind=options.bind,
        port=options.port,
        sandbox_port=options.sandbox_port or free_port(0 if options.port == SANDBOX_PORT else SANDBOX_PORT),
        options=options,
    )
    try:
        with lock.DataDirLock(data, f"process {os.getpid()}, {desk.url}"):
            if options.reset:
                _reset(desk)
            return _run(desk)
    except (lock.AlreadyRunning, StartFailed, valkey.NoValkey) as exc:
        return _refuse(str(exc), 1)


def _run(desk: Desk) -> int:
    with Supervisor(Printer(sys.stdout)) as supervisor:
        supervisor.on_start = lambda: _write_process_ids(desk, supervisor)
        try:
            progress = Progress(desk, supervisor)
            for part in build(desk):
                if not supervisor.is_stopping:
                    supervisor.start(part)
            while not supervisor.run(progress.is_ready, timeout_seconds=PATIENCE_SECONDS):
                if supervisor.is_stopping:
                    break
                supervisor.printer.say(
                    f"not ready after {progress.seconds:.0f} s: {progress.waits_for()}; it keeps trying."
                )
            else:
                supervisor.is_up = True
                _say_ready(desk, supervisor, progress.seconds)
            supervisor.run(lambda: False)
            supervisor.printer.say("stopping")
        finally:
            supervisor.stop()
            _remove_traces(desk)
    return 0


def _say_ready(desk: Desk, supervisor: Supervisor, seconds: float) -> None:
    lines = ["", f"  {LABELS[desk.environment]}"]
    if path := supervisor.facts.get("owner"):
        lines.append(_log_in(desk, path))
    if desk.has_sandbox:
        lines.append(f"  Its local exchange: http://127.0.0.1:{desk.sandbox_port}")
    lines += [f"  The desk is ready at {desk.url} after {seconds:.1f} s. Ctrl-C stops it.", "", ""]
    supervisor.printer.block("\n".join(lines))


def _log_in(desk: Desk, path: str) -> str:
    """Say how the first owner gets in: the link of a first run opens under this machine's own names alone."""
    address = urlsplit(desk.url)
    if address.scheme == "http" and address.hostname in env.LOOPBACK:
        return f"  Log in (once, within 10 minutes): {desk.url.rstrip('/')}{path}"
    return "  Log in: `manage.py reset_password --user owner` prints a link."


def _port_problem(bind: str, port: int, option: str = "--port") -> str | None:
    if not 0 < port <= MOST_PORTS:
        return f"{option} must be a number from 1 to {MOST_PORTS}, not {port}."
    if not bind or (bind.replace(".", "").isdecimal() and bind.count(".") != 3):  # 127.1 is nobody's Host
        return "--bind needs an address: 127.0.0.1 for this machine alone, 0.0.0.0 for every network."
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, port))
        except OSError as exc:
            if exc.errno != errno.EADDRINUSE:
                return f"Cannot listen on {bind} port {port}: {exc.strerror}."
            return f"Port {port} is in use by another program: stop it, or choose another with {option} {port + 1}."
    return None


def _reset(desk: Desk) -> None:
    """Remove what the sandbox desk made; never where money of another exchange has a record."""
    if desk.environment != "sandbox":
        raise StartFailed(f"--reset is for the sandbox; it never touches a {desk.environment} desk.")
    if env.secret("DATABASE_URL"):
        raise StartFailed("--reset removes the embedded database only; DATABASE_URL names another one.")
    database = desk.data / "kalshiweb.sqlite3"
    if others := _other_environments(database):
        raise StartFailed(f"--reset refused: this data directory also records {' and '.join(others)} accounts.")
    print(f"serve   | removes the sandbox desk in {desk.data}: its exchange, people, orders and record.")  # noqa: T201
    shutil.rmtree(desk.data / "sandbox", ignore_errors=True)
    for suffix in ("", "-wal", "-shm"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)


def _other_environments(database: Path) -> list[str]:
    if not database.exists():
        return []
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        try:
            rows = connection.execute(
                "SELECT DISTINCT environment FROM trading_account WHERE environment <> 'sandbox' ORDER BY 1"
            )
            return [str(row[0]) for row in rows]
        except sqlite3.OperationalError:  # no such table: nobody ever had an account here
            return []


def _write_process_ids(desk: Desk, supervisor: Supervisor) -> None:
    """Say which process is which, for an operator who looks at one and for tests that end one."""
    ids = {"serve": os.getpid()} | {name: child.process.pid for name, child in supervisor.children.items()}
    fresh = desk.data / "processes.json.new"
    fresh.write_text(json.dumps(ids))
    fresh.replace(desk.data / "processes.json")


def _remove_traces(desk: Desk) -> None:
    (desk.data / "processes.json").unlink(missing_ok=True)
    shutil.rmtree(desk.runtime, ignore_errors=True)


def _refuse(reason: str, code: int) -> int:
    sys.stderr.write(f"{reason}\n")
    return code
