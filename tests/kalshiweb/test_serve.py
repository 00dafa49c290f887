"""`manage.py serve`: what it refuses before anything starts, and one whole start and stop of the product."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from kalshiweb import data_dir, lock, serve
from kalshiweb.parts import free_port
from tests.kalshiweb.test_processes import ROOT, ends


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a data directory on which nothing may be started."""
    monkeypatch.setenv("KALSHIWEB_DATA_DIR", str(tmp_path))

    def started(desk: object) -> int:
        raise AssertionError(desk)

    monkeypatch.setattr(serve, "_run", started)
    return tmp_path


def listens(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def taken_port() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_a_port_in_use_is_refused_in_one_sentence(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with taken_port() as port:
        code = serve.main(["--port", str(port)])

    assert code == 2
    assert capsys.readouterr().err == (
        f"Port {port} is in use by another program: stop it, or choose another with --port {port + 1}.\n"
    )
    assert list(folder.iterdir()) == []


def test_a_second_desk_on_the_same_directory_is_told_who_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with lock.DataDirLock(folder, "process 4711, http://localhost:8000/"):
        code = serve.main(["--port", str(free_port())])

    assert code == 2
    assert "process 4711, http://localhost:8000/" in capsys.readouterr().err


def test_the_other_desk_is_named_even_where_it_holds_the_port_too(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with taken_port() as port, lock.DataDirLock(folder, "process 4711"):
        serve.main(["--port", str(port)])

    assert "This desk already runs (process 4711)" in capsys.readouterr().err


def test_an_unreadable_setting_is_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KALSHIWEB_PORT", "eight")

    assert serve.main([]) == 1
    assert capsys.readouterr().err == "KALSHIWEB_PORT must be a whole number, not 'eight'.\n"


def test_an_exchange_that_does_not_exist_is_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KALSHIWEB_EXCHANGE", "prod")

    assert serve.main([]) == 1
    assert capsys.readouterr().err == "KALSHIWEB_EXCHANGE must be one of sandbox, demo, production, not 'prod'.\n"


@pytest.mark.parametrize("port", ["0", "-1", "70000"])
def test_a_port_that_does_not_exist_is_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], port: str
) -> None:
    assert serve.main(["--port", port]) == 2
    assert capsys.readouterr().err == f"--port must be a number from 1 to 65535, not {port}.\n"


def test_the_exchanges_port_in_use_is_refused_before_anything_starts(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with taken_port() as port:
        assert serve.main(["--port", str(free_port()), "--sandbox-port", str(port)]) == 2

    assert f"choose another with --sandbox-port {port + 1}" in capsys.readouterr().err
    assert list(folder.iterdir()) == []


def test_one_port_for_two_is_refused_before_anything_starts(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    port = str(free_port())

    assert serve.main(["--port", port, "--sandbox-port", port]) == 2
    assert capsys.readouterr().err == f"--port and --sandbox-port are both {port}: give them different ones.\n"
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("bind", ["", "  ", "[]", "0", "127.1"])
def test_an_address_in_short_is_none(folder: Path, capsys: pytest.CaptureFixture[str], bind: str) -> None:
    assert serve.main(["--port", str(free_port()), "--bind", bind]) == 2
    assert "--bind needs an address" in capsys.readouterr().err


def test_a_data_directory_that_cannot_be_made_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KALSHIWEB_DATA_DIR", str(tmp_path / "file" / "desk"))

    assert serve.main([]) == 1
    assert capsys.readouterr().err == (f"The data directory {tmp_path}/file/desk cannot be made: Not a directory.\n")


def test_ctrl_c_before_anything_runs_is_a_quiet_end(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(desk: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(serve, "_run", interrupted)

    assert serve.main(["--port", str(free_port())]) == 130
    assert capsys.readouterr().err == ""
    assert lock.holder(folder) is None


@pytest.mark.parametrize("exchange", ["demo", "production"])
def test_reset_never_touches_another_exchange(folder: Path, capsys: pytest.CaptureFixture[str], exchange: str) -> None:
    (folder / "kalshiweb.sqlite3").write_text("rows")

    code = serve.main(["--port", str(free_port()), "--exchange", exchange, "--reset"])

    assert code == 1
    assert f"it never touches a {exchange} desk" in capsys.readouterr().err
    assert (folder / "kalshiweb.sqlite3").exists()


def test_reset_is_refused_where_money_of_another_exchange_has_a_record(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with sqlite3.connect(folder / "kalshiweb.sqlite3") as database:
        database.execute("CREATE TABLE trading_account (environment TEXT)")
        database.execute("INSERT INTO trading_account VALUES ('sandbox'), ('production')")
    database.close()

    code = serve.main(["--port", str(free_port()), "--reset"])

    assert code == 1
    assert "also records production accounts" in capsys.readouterr().err
    assert (folder / "kalshiweb.sqlite3").exists()


def test_reset_removes_the_sandbox_desk_and_keeps_keys_and_static_files(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("kalshiweb.sqlite3-wal", "master.keys", "secret.key"):
        (folder / name).write_text("x")
    with sqlite3.connect(folder / "kalshiweb.sqlite3") as database:
        database.execute("CREATE TABLE trading_account (environment TEXT)")
    database.close()
    (folder / "sandbox" / "credentials").mkdir(parents=True)
    monkeypatch.setattr(serve, "_run", lambda desk: 0)

    assert serve.main(["--port", str(free_port()), "--reset"]) == 0

    assert sorted(path.name for path in folder.iterdir()) == ["master.keys", "secret.key"]
    assert "removes the sandbox desk" in capsys.readouterr().out


def test_a_refused_start_gives_the_lock_back(folder: Path) -> None:
    serve.main(["--port", str(free_port()), "--exchange", "demo", "--reset"])

    assert lock.holder(folder) is None


class Serving:
    """One real `serve` and the lines it printed."""

    def __init__(self, folder: Path, *options: str, variables: Mapping[str, str]) -> None:
        self.port = free_port()
        self.folder = folder
        self.lines: list[str] = []
        self.running = subprocess.Popen(
            [sys.executable, "manage.py", "serve", "--port", str(self.port), *options],
            cwd=ROOT,
            env={**os.environ, "KALSHIWEB_DATA_DIR": str(folder), "CI": "", **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def read_until(self, text: str) -> str:
        assert self.running.stdout is not None
        for line in self.running.stdout:
            self.lines.append(line)
            if text in line:
                return line
        raise AssertionError("".join(self.lines))

    def pids(self) -> dict[str, int]:
        found: dict[str, int] = json.loads((self.folder / "processes.json").read_text())
        return found

    def get(self, path: str) -> tuple[int, dict[str, object]]:
        with urllib.request.urlopen(f"http://localhost:{self.port}{path}", timeout=5) as answer:
            return answer.status, json.loads(answer.read())

    def wait_ready(self) -> None:
        """Ask until the desk answers 200; each question blocks, so this does not spin."""
        for _ in range(200):
            try:
                if self.get("/readyz")[0] == 200:
                    return
            except OSError:
                select.select([], [], [], 0.05)
        raise AssertionError("not ready again")

    def stop(self) -> int:
        self.running.send_signal(signal.SIGINT)
        self.running.communicate(timeout=15)
        return self.running.returncode


@contextmanager
def serving(folder: Path, *options: str, **variables: str) -> Iterator[Serving]:
    desk = Serving(folder, *options, variables=variables)
    try:
        yield desk
    finally:
        if desk.running.poll() is None:
            desk.running.kill()
            desk.running.communicate()


@pytest.mark.long
def test_a_desk_starts_stops_and_starts_again_leaving_nothing_behind(tmp_path: Path) -> None:
    with serving(tmp_path) as desk:
        link = desk.read_until("/welcome/")
        desk.read_until("ready at")
        first = desk.pids()
        ready = desk.get("/readyz")
        assert desk.stop() == 0

    assert f"http://localhost:{desk.port}/welcome/" in link
    assert ready == (200, {"ready": True, "database": "ok", "migrations": "ok", "layer": "ok"})
    assert set(first) == {"serve", "valkey", "feed", "sandbox", "web", "worker"}
    assert all(ends(pid) for pid in first.values())
    assert not listens(desk.port)
    runtime = data_dir.runtime_dir(tmp_path)
    assert list(runtime.iterdir()) == []
    assert not {path.name for path in tmp_path.iterdir()} & {"serve.lock", "processes.json"}

    with serving(tmp_path) as again:
        again.read_until("ready at")
        assert again.get("/readyz")[0] == 200
        assert again.stop() == 0


@pytest.mark.long
def test_a_killed_desk_leaves_no_process_and_the_next_start_works(tmp_path: Path) -> None:
    with serving(tmp_path) as desk:
        desk.read_until("ready at")
        pids = desk.pids()
        desk.running.kill()
        desk.running.communicate()

    assert all(ends(pid) for pid in pids.values())
    with serving(tmp_path) as again:
        again.read_until("ready at")
        assert again.stop() == 0


@pytest.mark.long
def test_a_killed_valkey_comes_back_and_the_desk_with_it(tmp_path: Path) -> None:
    with serving(tmp_path) as desk:
        desk.read_until("ready at")
        before = desk.pids()["valkey"]

        os.kill(before, signal.SIGKILL)
        desk.read_until("valkey ended (signal SIGKILL)")
        desk.read_until("valkey runs again")

        desk.wait_ready()
        assert desk.pids()["valkey"] != before
        assert desk.stop() == 0


@pytest.mark.long
@pytest.mark.parametrize(
    ("options", "variables", "address"),
    [
        (["--bind", "127.0.0.2"], {}, "http://127.0.0.2:{port}/"),
        ([], {"KALSHIWEB_HTTPS": "1"}, "https://localhost/"),
        ([], {"KALSHIWEB_HOSTS": "desk.example.org"}, "http://desk.example.org:{port}/"),
    ],
)
def test_a_desk_gets_ready_wherever_it_listens_and_whatever_it_is_called(
    tmp_path: Path, options: list[str], variables: dict[str, str], address: str
) -> None:
    with serving(tmp_path, *options, **variables) as desk:
        line = desk.read_until("ready at")
        assert desk.stop() == 0

    assert f"ready at {address.format(port=desk.port)} after" in line
