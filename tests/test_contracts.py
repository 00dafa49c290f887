"""The shape of the code: which module may import which, and what the lock may contain."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_every_module_keeps_to_its_floor() -> None:
    run = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stdout


def test_the_lock_names_hashes_and_no_host() -> None:
    lock = (ROOT / "requirements.lock").read_text()

    assert "--hash=sha256:" in lock
    assert "http" not in lock.replace("httpcore", "").replace("httpx", "")


def test_templates_of_their_side_never_name_a_page_of_ours() -> None:
    named = [path for path in (ROOT / "templates" / "markets").rglob("*.html") if "trading:" in path.read_text()]

    assert named == []


def test_no_migration_of_their_side_depends_on_ours() -> None:
    named = [path for path in (ROOT / "markets" / "migrations").glob("0*.py") if '"trading"' in path.read_text()]

    assert named == []
