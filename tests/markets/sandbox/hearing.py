"""Listens at the outgoing side of every local exchange that runs in the process of the tests, whoever started it.

A pytest plugin: what an exchange decided to say (before any fault bends it) is kept until the test is over and judged
then, so that no exchange waits for its judge. A test whose exchange said something undocumented fails.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from markets.sandbox.app import Application
from markets.sandbox.auth import ApiKey
from markets.sandbox.sessions import Session, Subscription
from markets.sandbox.web import PREFIX, Answer, Request
from tests.markets.sandbox.conformance import Judge
from tests.markets.sandbox.covered import COVERED, EMPTY, silence

HERE = Path(__file__).resolve().parent
DOCUMENTS = "KALSHIWEB_EXCHANGE_DOCUMENTS"


@dataclass
class Ear:
    """What was said since the last judgement, and the judge, made when the first word falls."""

    documents: Path
    said: list[tuple[Request, Answer] | str] = field(default_factory=list)
    files: set[Path] = field(default_factory=set)  # of the tests that take part
    _judge: Judge | None = None

    @property
    def judge(self) -> Judge:
        """Return the judge of this run."""
        if self._judge is None:
            self._judge = Judge(self.documents)
        return self._judge

    @property
    def has_heard(self) -> bool:
        """Say whether anything was ever judged."""
        return self._judge is not None

    def complaints(self) -> list[str]:
        """Judge what was said since last time; return every complaint, each once, and forget them."""
        said, self.said = self.said, []
        if said:
            for words in said:
                self._judge_one(words)
        if self._judge is None:
            return []
        found, self._judge.complaints = list(dict.fromkeys(self._judge.complaints)), []
        return found

    def _judge_one(self, words: tuple[Request, Answer] | str) -> None:
        if isinstance(words, str):
            self.judge.judge_frame(words)
            return
        request, answer = words
        path = request.path.removeprefix(PREFIX)
        kind = dict(answer.header_pairs()).get(b"content-type", b"").decode()
        self.judge.judge_body(request.method, path, answer.status, kind=kind, body=answer.body)


EAR = pytest.StashKey[Ear]()


def listen(ear: Ear) -> Callable[[], None]:
    """Hear every exchange of this process from now on; the answer, called, ends that."""
    decide, push, terminate = Application.decide, Session.push, Session.terminate

    def heard_decide(self: Application, request: Request) -> tuple[Answer, ApiKey | None]:
        answer, key = decide(self, request)
        ear.said.append((request, answer))
        return answer, key

    def heard_push(self: Session, subscription: Subscription | None, kind: str, text: str) -> None:
        ear.said.append(text)
        push(self, subscription, kind, text)

    def heard_terminate(self: Session, subscription: Subscription, code: int, reason: str) -> None:
        is_new = not subscription.is_dead
        terminate(self, subscription, code, reason)
        if is_new:
            ear.said.append(str(self._waiting[-1][1]))

    changed: dict[Any, dict[str, Any]] = {
        Application: {"decide": heard_decide},
        Session: {"push": heard_push, "terminate": heard_terminate},
    }
    before = {owner: {name: getattr(owner, name) for name in names} for owner, names in changed.items()}

    def put(methods: dict[Any, dict[str, Any]]) -> None:
        for owner, names in methods.items():
            for name, method in names.items():
                setattr(owner, name, method)

    put(changed)
    return lambda: put(before)


def pytest_configure(config: pytest.Config) -> None:
    """Listen where the exchange's documents are at hand."""
    documents = Path(os.environ.get(DOCUMENTS, config.rootpath.parent / "shared" / "kalshi"))
    if (documents / "openapi.yaml").is_file():
        config.stash[EAR] = Ear(documents)
        config.add_cleanup(listen(config.stash[EAR]))


@pytest.fixture(autouse=True)
def _the_exchange_keeps_to_its_documents(pytestconfig: pytest.Config) -> Iterator[None]:
    """Fail a test during which the exchange said something undocumented."""
    ear = pytestconfig.stash.get(EAR, None)
    if ear is None:
        yield
        return
    ear.complaints()
    yield
    assert ear.complaints() == []


# --- the end of a run ---------------------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Note which files take part."""
    if EAR in config.stash:
        config.stash[EAR].files = {item.path for item in items}


def partial(config: pytest.Config) -> str | None:
    """Return why this run cannot say what is never sent; None where every everyday test of this folder took part."""
    chosen = config.option
    if hasattr(config, "workerinput") or getattr(chosen, "numprocesses", None):
        return "several processes"
    if chosen.keyword or getattr(chosen, "lf", False) or chosen.markexpr not in config.getini("addopts"):
        return "a selection of tests"
    if any("::" in argument for argument in config.args):
        return "single tests"
    if set(HERE.glob("test_*.py")) - config.stash[EAR].files:
        return "some files of the local exchange's tests only"
    return None


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail a whole run in which a documented field of a covered operation was never sent."""
    ear = session.config.stash.get(EAR, None)
    if ear is not None and exitstatus == pytest.ExitCode.OK and partial(session.config) is None:
        ear.complaints()
        if any(True for _ in silence(ear.judge)):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was judged and what nobody ever said; with -v every operation × status, with -vv every field."""
    ear = config.stash.get(EAR, None)
    if ear is None or not ear.has_heard or not HERE.is_relative_to(config.rootpath):
        return
    judge, write, verbosity = ear.judge, terminalreporter.write_line, config.get_verbosity()
    whole = partial(config)
    terminalreporter.section("the local exchange by the exchange's documents")
    if verbosity > 0:
        write(judge.table() if verbosity > 1 else judge.totals())
    answers, frames = sum(judge.answers.values()), sum(judge.frames.values())
    write(
        f"{answers} answers of {len(judge.answers)} operations × status, {frames} frames of {len(judge.frames)} kinds"
    )
    missing = list(silence(judge))
    if whole is not None:
        write(f"{len(missing)} documented fields not heard in this partial run: {whole}")
        return
    write(f"{len(COVERED)} operations served whole, {len(EMPTY)} without rows, {len(missing)} fields never sent")
    for line in missing:
        write(f"never sent: {line}")
