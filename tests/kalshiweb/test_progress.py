"""What a start asks, whom, and by which name; and what it says as long as the desk is not ready."""

from __future__ import annotations

import argparse
import io
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from kalshiweb import serve
from kalshiweb.parts import Desk, free_port
from kalshiweb.printing import Printer
from kalshiweb.processes import Supervisor
from kalshiweb.progress import Progress

READY = (200, {"ready": True, "database": "ok", "migrations": "ok", "layer": "ok"})
WAITS = (503, {"ready": False, "database": "ok", "migrations": "2 not applied", "layer": "does not answer"})


class Pages(HTTPServer):
    """Answers every question in the same way and keeps the Host it was called by."""

    def __init__(self, address: str, answer: tuple[int, object]) -> None:
        super().__init__((address, 0), Answer)
        self.answer, self.hosts = answer, list[str]()


class Answer(BaseHTTPRequestHandler):
    server: Pages

    def do_GET(self) -> None:
        self.server.hosts.append(self.headers["Host"])
        status, body = self.server.answer
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextmanager
def pages(address: str, answer: tuple[int, object] = READY) -> Iterator[Pages]:
    with Pages(address, answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def desk_at(bind: str, port: int, folder: Path) -> Desk:
    return Desk(folder, folder, "sandbox", bind, port, 8790, argparse.Namespace())


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    """Return one whose other parts are up."""
    with Supervisor(Printer(io.StringIO())) as running:
        running.facts.update(dict.fromkeys(("migrated", "valkey", "exchange", "owner"), ""))
        yield running


@pytest.mark.parametrize(("bind", "listened"), [("127.0.0.2", "127.0.0.2"), ("0.0.0.0", "127.0.0.1")])  # noqa: S104
def test_the_address_that_is_bound_is_asked(tmp_path: Path, supervisor: Supervisor, bind: str, listened: str) -> None:
    with pages(listened) as web:
        assert Progress(desk_at(bind, web.server_port, tmp_path), supervisor).is_ready()


@pytest.mark.parametrize(
    ("bind", "hosts", "called"),
    [("127.0.0.2", "", "127.0.0.2"), ("127.0.0.2", "desk.example.org,localhost", "desk.example.org")],
)
def test_it_is_asked_by_a_name_that_the_settings_accept(
    tmp_path: Path, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, bind: str, hosts: str, called: str
) -> None:
    monkeypatch.setenv("KALSHIWEB_HOSTS", hosts)
    with pages(bind) as web:
        assert Progress(desk_at(bind, web.server_port, tmp_path), supervisor).is_ready()

    assert web.hosts == [called]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (WAITS, "the web part waits for the tables (2 not applied) and Valkey (does not answer)"),
        ((301, ""), "the web part answers 301 to /readyz"),
        ((400, ["no"]), "the web part answers 400 to /readyz"),
    ],
)
def test_what_the_pages_wait_for_is_put_into_words(
    tmp_path: Path, supervisor: Supervisor, answer: tuple[int, object], words: str
) -> None:
    with pages("127.0.0.1", answer) as web:
        progress = Progress(desk_at("127.0.0.1", web.server_port, tmp_path), supervisor)
        assert not progress.is_ready()

    assert progress.waits_for() == words


def test_pages_that_do_not_answer_are_named_with_their_address(tmp_path: Path, supervisor: Supervisor) -> None:
    port = free_port()
    progress = Progress(desk_at("127.0.0.1", port, tmp_path), supervisor)

    assert not progress.is_ready()
    assert progress.waits_for() == f"the web part does not answer on 127.0.0.1 port {port}"


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("migrated", "the feed has not brought the database to this version"),
        ("valkey", "valkey does not answer"),
        ("exchange", "the sandbox does not serve on port 8790"),
        ("owner", "the feed has not listed the exchange's markets"),
    ],
)
def test_the_part_that_is_not_ready_is_named(tmp_path: Path, supervisor: Supervisor, missing: str, words: str) -> None:
    progress = Progress(desk_at("127.0.0.1", free_port(), tmp_path), supervisor)
    del supervisor.facts[missing]

    assert progress.waits_for() == words
    assert not progress.is_ready()


def test_a_slow_start_says_what_it_waits_for_and_is_ready_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []

    class Slow(Supervisor):
        def __enter__(self) -> Slow:
            super().__enter__()
            self.facts.update(dict.fromkeys(("migrated", "valkey", "exchange", "owner"), ""))
            self.printer.say = said.append  # type: ignore[method-assign, assignment]
            return self

        def run(self, until: object, *, timeout_seconds: float | None = None) -> bool:
            if timeout_seconds is None:  # ready: the rest of its life
                return False
            if len(said) >= 2:
                web.answer = READY
            return super().run(until, timeout_seconds=timeout_seconds)  # type: ignore[arg-type]

    monkeypatch.setattr(serve, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(serve, "Supervisor", Slow)
    monkeypatch.setattr(serve, "build", lambda desk: [])
    with pages("127.0.0.1", WAITS) as web:
        serve._run(desk_at("127.0.0.1", web.server_port, tmp_path / "desk"))

    tables = "the web part waits for the tables (2 not applied) and Valkey (does not answer)"
    assert [re.sub(r"\d+ s", "N s", line) for line in said[:2]] == [
        f"not ready after N s: {tables}; it keeps trying."
    ] * 2
    assert said[-1] == "stopping"
    assert f"The desk is ready at http://localhost:{web.server_port}/" in capsys.readouterr().out
