"""Listens at the outgoing side of every local exchange that tests start, in this process or in another.

A pytest plugin: what an exchange decided to say (before any fault bends it) is kept until the test is over and judged
then, so that no exchange waits for its judge. A test whose exchange said something undocumented fails, and so does one
that starts a Python whose exchange nobody would hear. What a process says after its test is judged with the next test,
and behind the last one with the run. Of a run by several workers each listens for itself and hands on what it heard;
the process that conducts them puts that together and judges the run.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from markets.sandbox.web import PREFIX, Answer, Request
from tests import overheard
from tests.markets.sandbox.conformance import Judge
from tests.markets.sandbox.covered import COVERED, EMPTY, silence
from tests.overheard import Notes, Said
from tests.overheard.ears import attach

HERE = Path(__file__).resolve().parent
DOCUMENTS = "KALSHIWEB_EXCHANGE_DOCUMENTS"


@dataclass
class Ear:
    """What was said since the last judgement, and the judge, made when the first word falls."""

    documents: Path
    notes: Notes | None = None  # of other processes
    said: list[tuple[Request, Answer] | str] = field(default_factory=list)
    deaf: list[str] = field(default_factory=list)
    overheard: Counter[int] = field(default_factory=Counter)  # how much each other process said
    files: set[Path] = field(default_factory=set)  # of the tests that take part
    late: list[str] = field(default_factory=list)  # complaints about what was said behind the last test
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
        for words in said:
            self._judge_one(words)
        for noted in [] if self.notes is None else self.notes.fresh():
            self._judge_noted(noted)
        found, self.deaf = self.deaf, []
        if self._judge is not None:
            found, self._judge.complaints = [*found, *self._judge.complaints], []
        return list(dict.fromkeys(found))

    def told(self) -> dict[str, Any]:
        """Return, in plain values, what the report on a whole run needs of this process's part."""
        return {
            "heard": None if self._judge is None else self._judge.heard(),
            "overheard": dict(self.overheard),
            "files": [str(path) for path in self.files],
            "late": self.late,
        }

    def add(self, told: dict[str, Any]) -> None:
        """Count what another process was told as heard here."""
        if told["heard"] is not None:
            self.judge.add(told["heard"])
        self.overheard.update(told["overheard"])
        self.files |= {Path(path) for path in told["files"]}
        self.late += told["late"]

    def _judge_one(self, words: tuple[Request, Answer] | str) -> None:
        if isinstance(words, str):
            self.judge.judge_frame(words)
            return
        request, answer = words
        kind = dict(answer.header_pairs()).get(b"content-type", b"").decode()
        self._judge_answer(request.method, request.path, answer.status, kind=kind, body=answer.body)

    def _judge_noted(self, noted: Said) -> None:
        self.overheard[noted.process] += 1
        judge, words = self.judge, noted.words
        before = len(judge.complaints)
        if "frame" in words:
            judge.judge_frame(words["frame"])
        else:
            body = words["body"].encode()
            self._judge_answer(words["method"], words["path"], words["status"], kind=words["kind"], body=body)
        judge.complaints[before:] = [f"{noted.command}: {sentence}" for sentence in judge.complaints[before:]]

    def _judge_answer(self, method: str, path: str, status: int, *, kind: str, body: bytes) -> None:
        self.judge.judge_body(method, path.removeprefix(PREFIX), status, kind=kind, body=body)


EAR = pytest.StashKey[Ear]()


def listen(ear: Ear) -> Callable[[], None]:
    """Hear every exchange of this process from now on; the answer, called, ends that."""
    return attach(lambda request, answer: ear.said.append((request, answer)), lambda text: ear.said.append(text))


def is_worker(config: pytest.Config) -> bool:
    """Say whether this process runs a part of a run that another one conducts."""
    return hasattr(config, "workerinput")


def is_conductor(config: pytest.Config) -> bool:
    """Say whether this process runs no test itself: it only hands them to workers."""
    return bool(getattr(config.option, "tx", None)) and not is_worker(config)


def pytest_configure(config: pytest.Config) -> None:
    """Listen where the exchange's documents are at hand, and where tests run."""
    documents = Path(os.environ.get(DOCUMENTS, config.rootpath.parent / "shared" / "kalshi"))
    if (documents / "openapi.yaml").is_file():
        ear = config.stash[EAR] = Ear(documents)
        if is_conductor(config):
            return
        config.add_cleanup(listen(ear))
        config.add_cleanup(overhear(ear))


def overhear(ear: Ear) -> Callable[[], None]:
    """Hear the exchanges of every process that is started from now on; the answer, called, ends that."""
    folder = tempfile.TemporaryDirectory(prefix="kalshiweb-overheard-", ignore_cleanup_errors=True)
    ear.notes = Notes(Path(folder.name))
    patches = pytest.MonkeyPatch()
    for name, value in overheard.environment(ear.notes.folder).items():
        patches.setenv(name, value)
    unwatch = overheard.watch_children(lambda sentence: ear.deaf.append(sentence))

    def end() -> None:
        unwatch()
        patches.undo()
        folder.cleanup()

    return end


@pytest.fixture(autouse=True)
def _the_exchange_keeps_to_its_documents(pytestconfig: pytest.Config) -> Iterator[None]:
    """Fail a test during which, or since the last, the exchange said something undocumented."""
    ear = pytestconfig.stash.get(EAR, None)
    if ear is None:
        yield
        return
    before = ear.complaints()
    yield
    assert [*before, *ear.complaints()] == []


# --- the end of a run ---------------------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Note which files take part."""
    if EAR in config.stash:
        config.stash[EAR].files = {item.path for item in items}


def partial(config: pytest.Config) -> str | None:
    """Return why this run cannot say what is never sent; None where every everyday test of this folder took part."""
    chosen = config.option
    if chosen.keyword or getattr(chosen, "lf", False) or chosen.markexpr not in config.getini("addopts"):
        return "a selection of tests"
    if any("::" in argument for argument in config.args):
        return "single tests"
    if set(HERE.glob("test_*.py")) - config.stash[EAR].files:
        return "some files of the local exchange's tests only"
    return None


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Take over what a worker heard. One that hands nothing on fails the run: nobody judged what it heard last."""
    ear = node.config.stash.get(EAR, None)
    if ear is None:
        return
    told = getattr(node, "workeroutput", {}).get("told")
    if told is None:
        ear.late.append(f"a worker has handed nothing on ({error or 'without a reason'})")
    else:
        ear.add(told)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail a run behind whose last test something undocumented was said, and a whole one with fields never sent."""
    ear = session.config.stash.get(EAR, None)
    if ear is None:
        return
    if is_worker(session.config):
        ear.late = ear.complaints()
        session.config.workeroutput["told"] = ear.told()  # type: ignore[attr-defined]
        return
    if exitstatus != pytest.ExitCode.OK:
        return
    ear.late += ear.complaints()
    if ear.late or (partial(session.config) is None and any(True for _ in silence(ear.judge))):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was judged and what nobody ever said; with -v every operation × status, with -vv every field."""
    ear = config.stash.get(EAR, None)
    if ear is None or not (ear.has_heard or ear.late) or not HERE.is_relative_to(config.rootpath):
        return
    for complaint in ear.late:
        terminalreporter.write_line(f"behind the last test: {complaint}")
    judge, write, verbosity = ear.judge, terminalreporter.write_line, config.get_verbosity()
    whole = partial(config)
    terminalreporter.section("the local exchange by the exchange's documents")
    if verbosity > 0:
        write(judge.table() if verbosity > 1 else judge.totals())
    answers, frames = sum(judge.answers.values()), sum(judge.frames.values())
    write(
        f"{answers} answers of {len(judge.answers)} operations × status, {frames} frames of {len(judge.frames)} kinds; "
        f"{ear.overheard.total()} of them from {len(ear.overheard)} other processes"
    )
    missing = list(silence(judge))
    if whole is not None:
        write(f"{len(missing)} documented fields not heard in this partial run: {whole}")
        return
    write(f"{len(COVERED)} operations served whole, {len(EMPTY)} without rows, {len(missing)} fields never sent")
    for line in missing:
        write(f"never sent: {line}")
