"""What every test may use: the recordings of the real exchange, and the browser's switches."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
pytest_plugins = ["tests.markets.sandbox.hearing"]  # every local exchange of the suite is judged


def _shared(name: str, variable: str) -> Path:
    path = Path(os.environ.get(variable, ROOT.parent / "shared" / name))
    if path.is_dir():
        return path
    reason = f"{name} are not at {path}; point {variable} at them"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def recordings() -> Path:
    """Return the folder of what the real exchange sent (tapes/, rest/, ws/)."""
    return _shared("recordings", "KALSHIWEB_RECORDINGS")


@pytest.fixture(scope="session")
def exchange_documents() -> Path:
    """Return the folder of the exchange's own documents (openapi.yaml, asyncapi.yaml, examples/)."""
    return _shared("kalshi", "KALSHIWEB_EXCHANGE_DOCUMENTS")
