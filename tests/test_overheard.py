"""Exchanges of other processes are heard like those of this one: what they write down, who would not be heard."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests import overheard
from tests.markets.sandbox.hearing import EAR, Ear
from tests.overheard import Notes

ROOT = Path(__file__).resolve().parent.parent
WHO = {"process": 7, "command": ["manage.py", "run_sandbox"]}
SUBSCRIBED = {"frame": json.dumps({"id": 1, "type": "subscribed", "msg": {"channel": "trade", "sid": 1}})}
NAMELESS = {"frame": json.dumps({"id": 1, "type": "subscribed", "msg": {"chanel": "trade", "sid": 1}})}
STATUS = {"method": "GET", "path": "/trade-api/v2/exchange/status", "status": 200, "kind": "application/json"}
# In a process of its own: one question to an exchange.
ONE_ANSWER = """
from markets.sandbox.app import Application
from markets.sandbox.control import Control
from markets.sandbox.venue import Venue
from markets.sandbox.web import Request

venue = Venue()
Application(venue, Control(venue)).decide(Request("GET", "/trade-api/v2/exchange/status"))
"""


@pytest.fixture
def ear(tmp_path: Path, exchange_documents: Path) -> Ear:
    return Ear(exchange_documents, Notes(tmp_path))


def write(folder: Path, *said: Mapping[str, object], end: str = "") -> None:
    with (folder / "7-1.jsonl").open("a") as file:
        file.write("".join(json.dumps(words) + "\n" for words in said) + end)


def test_documented_words_pass_and_are_counted_to_who_said_them(ear: Ear, tmp_path: Path) -> None:
    write(tmp_path, WHO, SUBSCRIBED)

    assert ear.complaints() == []
    assert ear.overheard == {7: 1}


def test_a_misnamed_field_of_a_frame_is_heard_and_who_said_it(ear: Ear, tmp_path: Path) -> None:
    write(tmp_path, WHO, SUBSCRIBED, NAMELESS)

    assert any(line.startswith("manage.py run_sandbox: frame") and "chanel" in line for line in ear.complaints())


def test_a_missing_field_of_an_answer_is_heard(ear: Ear, tmp_path: Path) -> None:
    write(tmp_path, WHO, {**STATUS, "body": json.dumps({"exchange_active": True})})

    assert any("trading_active" in complaint for complaint in ear.complaints())


def test_a_line_is_judged_once_and_only_when_it_is_whole(ear: Ear, tmp_path: Path) -> None:
    text = json.dumps(NAMELESS)
    write(tmp_path, WHO, SUBSCRIBED, end=text[:30])
    assert ear.complaints() == []

    write(tmp_path, end=text[30:] + "\n")
    assert ear.complaints() != []
    assert ear.complaints() == []
    assert ear.overheard == {7: 2}


def test_every_child_of_this_run_is_in_reach_of_its_ear(pytestconfig: pytest.Config) -> None:
    ear = pytestconfig.stash[EAR]
    ear.complaints()
    before = ear.judge.answers["GET", "/exchange/status", 200]

    subprocess.run([sys.executable, "-c", ONE_ANSWER], cwd=ROOT, check=True, timeout=20)

    assert ear.complaints() == []
    assert ear.judge.answers["GET", "/exchange/status", 200] == before + 1


@pytest.mark.parametrize(
    ("env", "is_deaf"),
    [
        (None, False),
        ({**os.environ, **overheard.environment(Path("/notes"))}, False),
        ({**os.environ, **overheard.environment(Path("/notes")), **overheard.UNHEARD}, False),  # said in so many words
        ({"PATH": "/usr/bin"}, True),
        ({**os.environ, **overheard.environment(Path("/notes")), "PYTHONPATH": "/elsewhere"}, True),
    ],
)
def test_a_child_whose_environment_was_not_handed_on_is_deaf(env: dict[str, str] | None, is_deaf: bool) -> None:
    assert overheard.is_deaf([sys.executable, "manage.py"], env) is is_deaf
    assert overheard.is_deaf(["/usr/bin/chromium"], env) is False


def test_a_deaf_child_is_complained_of(pytestconfig: pytest.Config) -> None:
    subprocess.run([sys.executable, "-c", ""], env={"PATH": "/usr/bin"}, check=True, timeout=20)

    (complaint,) = pytestconfig.stash[EAR].complaints()
    assert "nobody would hear" in complaint
