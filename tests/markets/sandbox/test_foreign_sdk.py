"""The kalshi-sdk package lives through a trading day here; it needs a newer Python, which is looked for.

Two things that this client refuses are the exchange's own by its documents and recordings: a market without
`liquidity_dollars`, withdrawn on 1 October 2026, and a snapshot that leaves out an empty side.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from markets.sandbox.running import Options, RunningSandbox

pytestmark = pytest.mark.long

PACKAGE = "kalshi-sdk==22.4.*"
VERSIONS = ("3.12", "3.13", "3.14")
DAY = Path(__file__).parent / "foreign" / "sdk_day.py"


def newer_python() -> str | None:
    """Return an interpreter of 3.12 or later, from the path or from pyenv."""
    candidates = [shutil.which(f"python{version}") for version in VERSIONS]
    if shutil.which("pyenv") is not None:
        root = subprocess.run(["pyenv", "root"], capture_output=True, text=True, check=False).stdout.strip()
        names = subprocess.run(["pyenv", "versions", "--bare"], capture_output=True, text=True, check=False).stdout
        candidates += [
            str(Path(root, "versions", name.strip(), "bin", "python"))
            for name in names.splitlines()
            if name.strip().startswith(VERSIONS)
        ]
    for path in candidates:
        # A shim of pyenv may stand there for a version that is not switched on.
        if path and subprocess.run([path, "-c", "import venv"], capture_output=True, check=False).returncode == 0:
            return path
    return None


def cache() -> Path:
    """Return a folder outside of the checkout in which the client's environment outlives the run."""
    base = os.environ.get("XDG_CACHE_HOME")
    return Path(base) / "kalshiweb" if base else Path(tempfile.gettempdir()) / f"kalshiweb-cache-{os.getuid()}"


@pytest.fixture(scope="module")
def sdk_python() -> str:
    """Return an interpreter that has the package; it is installed once."""
    base = newer_python()
    if base is None:
        pytest.skip("kalshi-sdk needs Python 3.12 or later, and none is here")
    folder = cache() / "kalshi-sdk-22.4"
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        subprocess.run([base, "-m", "venv", "--clear", str(folder)], check=True, capture_output=True)
        install = [str(python), "-m", "pip", "install", "--quiet", PACKAGE]
        made = subprocess.run(install, capture_output=True, text=True, check=False)
        if made.returncode:
            pytest.skip(f"{PACKAGE} cannot be installed here: {made.stderr[-300:]}")
        (folder / "ready").touch()
    return str(python)


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[RunningSandbox]:
    """Return an exchange with makers, as it runs by default."""
    running = RunningSandbox(Options(credentials=tmp_path, tier="prestige"))
    yield running
    running.stop()


def truth(exchange: RunningSandbox) -> list[dict[str, Any]]:
    text = requests.get(f"{exchange.url}/__sandbox__/truth", timeout=5).text
    return [json.loads(line) for line in text.splitlines()]


def test_a_whole_day_with_the_sdk(sdk_python: str, exchange: RunningSandbox, tmp_path: Path) -> None:
    command = [sdk_python, str(DAY), str(tmp_path / "desk.json"), exchange.url]
    lived = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert lived.returncode == 0, lived.stderr[-3000:]
    assert lived.stderr == ""
    told = json.loads(lived.stdout.splitlines()[-1])
    assert all(told["heard"].values()), told["heard"]
    entries = [entry for entry in truth(exchange) if entry.get("member") == "desk"]
    last = {entry["client_order_id"]: entry for entry in entries if entry["kind"] == "order"}
    ends = {name: last[own]["status"] for name, own in told["ids"].items() if own in last}
    assert ends == {
        "resting": "canceled",
        "expiring": "canceled",
        "taken": "executed",
        "filled": "executed",
        "missed": "canceled",
        "reduced": "executed",
        "batch 1": "canceled",
        "batch 2": "canceled",
        "batch 3": "canceled",
        "in a group": "canceled",
        "heard": "canceled",
        "heard filled": "executed",
        "heard sold": "executed",
    }
    refused = {"crossing", "off the grid", "unfillable", "too dear", "batch refused"}
    assert set(told["ids"]) - set(ends) == refused
    fills: Counter[str] = Counter()
    for entry in entries:
        if entry["kind"] == "fill":
            fills[entry["side"]] += int(entry["count"].replace(".", ""))
    assert fills == {"bid": 850, "ask": 200}
    (settled,) = [entry for entry in entries if entry["kind"] == "settlement"]
    assert (settled["ticker"], settled["result"], settled["revenue"]) == (told["ticker"], "yes", "6.500000")
