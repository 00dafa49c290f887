"""One field renamed in an exchange of another process turns every suite red that starts one, though no client minds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import overheard

pytestmark = pytest.mark.sight

ROOT = Path(__file__).resolve().parent.parent
# Python runs it at its start, behind the one that overhears; only exchanges in processes of their own are bent.
PLANT = """
import sys

if {"run_sandbox", "kalshiweb.bench.exchange"} & set(sys.orig_argv):
    from markets.sandbox import frames

    reply = frames.reply
    frames.reply = lambda *told, **fields: reply(*told, **fields).replace('"sending_ts_ms"', '"sent_ts_ms"')
"""
SUITES = {
    "a command": "tests/markets/sandbox/test_keeping.py::test_the_command_serves_and_ends_on_a_signal",
    "a bench": "tests/kalshiweb/test_bench.py::test_sandbox_tells_its_figures_and_loses_nothing",
    "a desk": "tests/kalshiweb/test_serve.py::test_a_killed_valkey_comes_back_and_the_desk_with_it",
    "a journey": "tests/journeys/test_sentences.py",
    "a desk on PostgreSQL and Redis": "tests/journeys/test_scaled.py",
    "a desk that starts again": "tests/journeys/test_start.py",
}
# A plugin behind which a run of some files is judged as the whole suite is.
AS_A_WHOLE = """
def pytest_configure(config):
    from tests.markets.sandbox import hearing

    hearing.partial = lambda config: None
"""
BY_WORKERS = [
    "-n2",
    "--dist=loadfile",
    SUITES["a command"],  # an exchange in a process of its own
    "tests/markets/sandbox/test_account_wire.py::test_balance_is_cash_in_cents_and_in_dollars",  # one in the worker's
]


def run(*suite: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run one suite of everything marked, with a folder in the way of each Python's start."""
    command = ["-m", "pytest", "-vv", "-p", "no:cacheprovider", "-m", "not sight", *suite]
    env = {**os.environ, **overheard.UNHEARD, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=env, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.parametrize("suite", SUITES.values(), ids=SUITES)
def test_a_field_renamed_in_another_process_turns_its_suite_red(tmp_path: Path, suite: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(PLANT)

    found = run("-x", suite, folder=tmp_path)

    assert found.returncode == 1, found.stdout[-3000:]
    assert "('sent_ts_ms' was unexpected)" in found.stdout, found.stdout[-3000:]


def test_nothing_renamed_leaves_a_suite_green(tmp_path: Path) -> None:
    found = run(SUITES["a command"], folder=tmp_path)

    assert found.returncode == 0, found.stdout[-3000:]


def test_a_field_renamed_in_another_process_turns_a_run_by_workers_red(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(PLANT)

    found = run(*BY_WORKERS, folder=tmp_path)

    assert found.returncode == 1, found.stdout[-3000:]
    assert "('sent_ts_ms' was unexpected)" in found.stdout, found.stdout[-3000:]


def test_only_what_no_worker_heard_turns_a_whole_run_by_workers_red(tmp_path: Path) -> None:
    (tmp_path / "whole.py").write_text(AS_A_WHOLE)

    found = run("-pwhole", *BY_WORKERS, folder=tmp_path)

    assert " passed" in found.stdout and " failed" not in found.stdout, found.stdout[-3000:]
    assert found.returncode == 1, found.stdout[-3000:]
    missing = {line for line in found.stdout.splitlines() if line.startswith("never sent: ")}
    assert "never sent: GET /series: never answered" in missing
    assert "never sent: GET /portfolio/balance: never answered" not in missing
    assert "never sent: subscribedResponsePayload: never sent" not in missing
