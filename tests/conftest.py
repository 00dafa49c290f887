"""What every test may use: the recordings of the real exchange, and the browser's switches."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management.commands import flush

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


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Run named files, a choice and what is to be watched in this process; leave all else to the number of cores.

    Each worker starts and collects for itself before the first test begins, and what a test prints stays with it.
    """
    chosen = config.option
    are_files = all(Path(argument.partition("::")[0]).is_file() for argument in config.args)
    return 0 if are_files or chosen.keyword or chosen.capture == "no" or getattr(chosen, "lf", False) else None


GARBAGE = (20_000, 20, 20)  # Python's own are 700, 10, 10


def pytest_collection_finish() -> None:
    """Look for garbage less often, and never again among what was imported: it took a quarter of the run."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE)


DESCRIBED = {"django_content_type", "auth_permission"}  # rows that follow from the models alone


@pytest.fixture(scope="session", autouse=True)
def _models_are_described_once() -> Iterator[None]:
    """Leave content types and permissions where a transactional test empties the tables behind itself.

    Django would delete them too and write the same rows again, which takes longer than most tests.
    """

    def sql_flush(style: Any, connection: Any, **options: bool) -> list[str]:
        tables = connection.introspection.django_table_names(only_existing=True, include_views=False)
        emptied = [table for table in tables if table not in DESCRIBED]
        return connection.ops.sql_flush(style, emptied, **options)  # type: ignore[no-any-return]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(flush, "sql_flush", sql_flush)
        patched.setattr(flush, "emit_post_migrate_signal", lambda *arguments: None)
        yield
