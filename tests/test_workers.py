"""A run by several workers: when there are any, and that what each heard of the exchange is judged as one."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import execnet
import pytest

from tests.conftest import pytest_xdist_auto_num_workers as workers
from tests.markets.sandbox import hearing
from tests.markets.sandbox.covered import silence
from tests.markets.sandbox.hearing import EAR, Ear

ROOT = Path(__file__).resolve().parent.parent
HERE = str(Path(__file__))
TRADE = {"type": "subscribed", "id": 1, "sending_ts_ms": 1, "msg": {"channel": "trade", "sid": 1}}
STATUS = {"exchange_active": True, "intra_exchange_transfers_active": True, "trading_active": True}


def chosen(*arguments: str, **options: Any) -> Any:
    """Return what a hook is told of a command line."""
    option = SimpleNamespace(**{"keyword": "", "capture": "fd", "lf": False, **options})
    return SimpleNamespace(args=list(arguments), option=option, stash=pytest.Stash())


@pytest.mark.parametrize(
    "config",
    [
        chosen(HERE),
        chosen(f"{HERE}::test_one", f"{HERE}::test_two"),
        chosen(HERE, str(ROOT / "tests" / "test_judges.py")),
        chosen("tests", keyword="one"),
        chosen("tests", capture="no"),
        chosen("tests", lf=True),
    ],
)
def test_named_files_a_choice_and_what_is_watched_have_no_workers(config: Any) -> None:
    assert workers(config) == 0


@pytest.mark.parametrize("folders", [["tests"], [str(ROOT / "tests" / "wire"), HERE]])
def test_a_folder_has_as_many_workers_as_there_are_cores(folders: list[str]) -> None:
    assert workers(chosen(*folders)) is None


# --- one judgement ------------------------------------------------------------------------------------------


@pytest.fixture
def ears(exchange_documents: Path) -> tuple[Ear, Ear, Ear]:
    """Return the ears of two workers, and of who conducts them."""
    return Ear(exchange_documents), Ear(exchange_documents), Ear(exchange_documents)


def end(ear: Ear) -> dict[str, Any]:
    """End a worker; return what it hands on."""
    config = SimpleNamespace(stash=pytest.Stash(), workerinput={}, workeroutput={})
    config.stash[EAR] = ear
    hearing.pytest_sessionfinish(SimpleNamespace(config=config), 0)  # type: ignore[arg-type]
    told: dict[str, Any] = execnet.loads(execnet.dumps(config.workeroutput["told"]))  # as it travels
    return told


def conduct(ear: Ear, *handed_on: dict[str, Any], files: set[Path]) -> tuple[Any, Any]:
    """End a whole run of workers that handed something on; return its session and the configuration."""
    config = chosen("tests", markexpr="everyday", tx=["popen"] * 2)
    config.getini = lambda name: ["-m", "everyday"]
    config.stash[EAR] = ear
    for told in handed_on:
        hearing.pytest_testnodedown(SimpleNamespace(config=config, workeroutput={"told": told}), None)
    ear.files |= files
    session = SimpleNamespace(config=config, exitstatus=0)
    hearing.pytest_sessionfinish(session, 0)  # type: ignore[arg-type]
    return session, config


def test_what_each_worker_heard_counts_together(ears: tuple[Ear, Ear, Ear]) -> None:
    first, second, conductor = ears
    for ear in (first, second):
        ear.said.append(json.dumps(TRADE))
    second.judge.judge_body("GET", "/exchange/status", 200, kind="application/json", body=json.dumps(STATUS).encode())
    first.overheard[7], second.overheard[8] = 2, 3
    first.files, second.files = {Path("/a")}, {Path("/b")}

    conduct(conductor, end(first), end(second), files=set())

    assert conductor.judge.frames == {"subscribedResponsePayload": 2}
    assert conductor.judge.answers == {("GET", "/exchange/status", 200): 1}
    assert conductor.judge.fields("subscribedResponsePayload")["msg.sid"] == (2, True)
    assert conductor.judge.fields("GET /exchange/status 200")["trading_active"] == (1, True)
    assert (conductor.overheard, conductor.files) == ({7: 2, 8: 3}, {Path("/a"), Path("/b")})


def test_a_field_that_no_worker_heard_turns_a_whole_run_red(ears: tuple[Ear, Ear, Ear]) -> None:
    first, second, conductor = ears
    first.said.append(json.dumps(TRADE))
    second.judge.judge_body("GET", "/exchange/status", 200, kind="application/json", body=json.dumps(STATUS).encode())

    session, config = conduct(conductor, end(first), end(second), files=set(hearing.HERE.glob("test_*.py")))

    missing = set(silence(conductor.judge))
    assert hearing.partial(config) is None
    assert session.exitstatus == pytest.ExitCode.TESTS_FAILED
    assert "GET /exchange/status 200: exchange_estimated_resume_time" in missing  # known, and sent by neither
    assert not {line for line in missing if line.startswith("subscribedResponsePayload")}


def test_files_that_no_worker_collected_leave_a_run_partial_and_green(ears: tuple[Ear, Ear, Ear]) -> None:
    first, second, conductor = ears
    first.said.append(json.dumps(TRADE))

    session, config = conduct(conductor, end(first), end(second), files=set())

    assert hearing.partial(config) == "some files of the local exchange's tests only"
    assert session.exitstatus == 0


def test_a_word_behind_the_last_test_of_a_worker_turns_the_run_red(ears: tuple[Ear, Ear, Ear]) -> None:
    first, second, conductor = ears
    second.said.append(json.dumps({**TRADE, "extra": 1}))

    session, _ = conduct(conductor, end(first), end(second), files=set())

    assert session.exitstatus == pytest.ExitCode.TESTS_FAILED
    assert any("'extra' was unexpected" in complaint for complaint in conductor.late)


@pytest.mark.parametrize("node", [{"workeroutput": {}}, {}])
def test_a_worker_that_hands_nothing_on_turns_the_run_red(ears: tuple[Ear, Ear, Ear], node: dict[str, Any]) -> None:
    first, _, conductor = ears
    config = SimpleNamespace(stash=pytest.Stash())
    config.stash[EAR] = conductor
    hearing.pytest_testnodedown(SimpleNamespace(config=config, **node), "Not properly terminated")

    session, _ = conduct(conductor, end(first), files=set())

    assert session.exitstatus == pytest.ExitCode.TESTS_FAILED
    assert conductor.late == ["a worker has handed nothing on (Not properly terminated)"]
