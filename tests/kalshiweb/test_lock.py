"""One desk per data directory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kalshiweb import lock

ROOT = Path(__file__).resolve().parent.parent.parent
HOLD = """
import sys, signal
from pathlib import Path
from kalshiweb.lock import DataDirLock
with DataDirLock(Path(sys.argv[1]), "process 4711"):
    print("held", flush=True)
    signal.pause()
"""


def holding(folder: Path) -> subprocess.Popen[str]:
    held = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert held.stdout is not None
    assert held.stdout.readline() == "held\n"
    return held


def test_a_second_holder_is_refused_and_told_who_runs(tmp_path: Path) -> None:
    with holding(tmp_path) as first:
        with pytest.raises(lock.AlreadyRunning, match="process 4711"), lock.DataDirLock(tmp_path, "second"):
            pass
        assert lock.holder(tmp_path) == "process 4711"
        first.kill()


def test_a_killed_holder_leaves_the_directory_free(tmp_path: Path) -> None:
    with holding(tmp_path) as first:
        first.kill()

    assert lock.holder(tmp_path) is None
    with lock.DataDirLock(tmp_path, "second"):
        assert lock.holder(tmp_path) == "second"


def test_a_free_directory_stays_untouched_by_the_question(tmp_path: Path) -> None:
    assert lock.holder(tmp_path) is None

    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_after_a_clean_end(tmp_path: Path) -> None:
    with lock.DataDirLock(tmp_path, "first"):
        assert (tmp_path / lock.NAME).stat().st_mode & 0o077 == 0

    assert list(tmp_path.iterdir()) == []
