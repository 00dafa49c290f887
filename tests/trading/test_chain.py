"""The chain grows by one row at a time, whoever writes at once; PostgreSQL guards it against emptying as well."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import DatabaseError, connection, transaction

from trading import audit, chain
from trading.models import AuditEntry, Team

ROOT = Path(__file__).resolve().parent.parent.parent
WRITERS, ROWS_EACH = 50, 4


@pytest.mark.django_db(transaction=True)
def test_fifty_writers_at_once_fork_nothing(team: Team, other_team: Team) -> None:
    barrier, failures = threading.Barrier(WRITERS), []

    def write(index: int) -> None:
        barrier.wait()
        try:
            for _ in range(ROWS_EACH):
                with transaction.atomic():
                    audit.record("limits.changed", None, team=team if index % 5 else other_team)
        except DatabaseError as exc:
            failures.append(exc)
        finally:
            connection.close()

    threads = [threading.Thread(target=write, args=(index,)) for index in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert chain.verify(team) == chain.Verdict(True, 160)
    assert chain.verify(other_team) == chain.Verdict(True, 40)
    assert AuditEntry.objects.values("team", "previous_hash").distinct().count() == 200


def test_the_guards_of_the_table_stand(db: None) -> None:
    assert chain.missing_triggers() == set()


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no TRUNCATE")
@pytest.mark.django_db
def test_the_table_cannot_be_emptied_at_a_stroke(team: Team) -> None:
    audit.record("limits.changed", None, team=team)

    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("TRUNCATE trading_auditentry")

    assert AuditEntry.objects.count() == 1


# --- the same on PostgreSQL ----------------------------------------------------------------------------------------


@pytest.fixture
def postgresql(tmp_path: Path) -> Iterator[str]:
    """Start a PostgreSQL of the test's own, as another user where this is root, and return its address."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("no PostgreSQL on this machine: apt-get install postgresql")
    binaries, folder, port = found[-1].parent, Path(f"/tmp/kalshiweb-pg-{os.getpid()}"), _free_port()  # noqa: S108
    folder.mkdir(mode=0o700)
    as_user: list[str] = []
    if os.getuid() == 0:
        shutil.chown(folder, "nobody", "nogroup")
        as_user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
    data = folder / "data"
    subprocess.run(
        [*as_user, binaries / "initdb", "-D", data, "-U", "desk", "-A", "trust", "-E", "UTF8", "--no-sync"],
        check=True,
        capture_output=True,
        cwd="/",
    )
    options = ["-c", "fsync=off", "-c", f"port={port}", "-c", f"unix_socket_directories={folder}"]
    server = subprocess.Popen(
        [*as_user, binaries / "postgres", "-D", data, "-h", "127.0.0.1", "-c", "max_connections=120", *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
    )
    try:
        _wait_for(port)
        yield f"postgres://desk@127.0.0.1:{port}/postgres"
    finally:
        server.terminate()
        server.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.long
def test_people_and_record_keep_their_word_on_postgresql(postgresql: str) -> None:
    names = ["audit", "chain", "checkpoints", "people", "invitations", "evidence", "permissions", "sessions"]
    names += ["record_page", "matrix"]
    files = [f"tests/trading/test_{name}.py" for name in names]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "not long", "-p", "no:cacheprovider", *files],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": postgresql},
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stdout[-6_000:]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(port: int) -> None:
    for _ in range(300):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("PostgreSQL did not start")
