"""A part that cannot work says why in one sentence: to the supervisor what cannot get better, else on its output."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from tests.kalshiweb.test_processes import ROOT


def ended(name: str, folder: Path, **variables: str) -> tuple[str, str]:
    """Run a part until it ends; return what it told the supervisor and what it printed."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "kalshiweb.settings",
            "KALSHIWEB_DATA_DIR": str(folder),
            "KALSHIWEB_CONTROL_FD": str(theirs.fileno()),
            **variables,
        }
        done = subprocess.run(
            [sys.executable, "-m", "kalshiweb.child", name],
            cwd=ROOT,
            env=environment,
            pass_fds=(theirs.fileno(),),
            capture_output=True,
            text=True,
            timeout=60,
        )
        theirs.close()
        assert done.returncode == 1
        return ours.makefile().read(), done.stdout + done.stderr


def test_a_setting_that_cannot_be_used_ends_the_desk_with_one_sentence(tmp_path: Path) -> None:
    told, printed = ended("web", tmp_path, KALSHIWEB_LOG_LEVEL="LOUD")

    assert told == ("failed KALSHIWEB_LOG_LEVEL must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL, not 'LOUD'.\n")
    assert printed == ""


def test_a_database_that_does_not_answer_is_one_sentence_and_tried_again(tmp_path: Path) -> None:
    (tmp_path / "kalshiweb.sqlite3").mkdir()

    told, printed = ended("feed", tmp_path, DATABASE_URL="")

    assert told == ""
    assert printed == "The database does not answer: unable to open database file\n"


def test_an_open_door_beside_production_money_ends_the_desk(tmp_path: Path) -> None:
    told, printed = ended("feed", tmp_path, KALSHIWEB_EXCHANGE="production", KALSHIWEB_DEBUG="1", DATABASE_URL="")

    assert told == "failed DEBUG is on beside production money. Unset KALSHIWEB_DEBUG.\n"
    assert printed == ""


def test_a_databases_address_that_cannot_be_read_ends_the_desk_without_its_password(tmp_path: Path) -> None:
    told, printed = ended("web", tmp_path, DATABASE_URL="postgres://desk:hunter2/ss@db/desk")

    assert told.startswith("failed DATABASE_URL cannot be read: ")
    assert "hunter2" not in told + printed
    assert printed == ""
