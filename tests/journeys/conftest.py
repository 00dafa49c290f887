"""Journeys run on the product itself: `serve` in its own process, Chromium in front of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.journeys import desk as desks
from tests.journeys.desk import CHROMIUM_SWITCHES, RunningDesk
from tests.markets.sandbox.hearing import EAR


def end_and_judge(desk: RunningDesk, config: pytest.Config) -> None:
    """Stop a desk; its exchange must have been heard, and have said what its own documents have and no more."""
    desk.stop()
    if (ear := config.stash.get(EAR, None)) is not None:
        assert ear.complaints() == []
        assert ear.overheard[desk.sandbox_pid] > 0


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return Debian's Chromium, headless; skip with the reason where there is none."""
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=found, args=CHROMIUM_SWITCHES)
        yield running
        running.close()


@pytest.fixture
def start_desk(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[Callable[..., RunningDesk]]:
    """Return a function that starts a desk of its own; what it started ends with the test."""
    started: list[RunningDesk] = []

    def run(*options: str, data_dir: Path | None = None) -> RunningDesk:
        desk = desks.start(data_dir or tmp_path_factory.mktemp("desk"), *options)
        started.append(desk)
        return desk

    yield run
    for desk in started:  # all of them, before one of them is judged: what is found wrong leaves no desk running
        desk.stop()
    for desk in started:
        end_and_judge(desk, pytestconfig)


@pytest.fixture(scope="module")
def running_desk(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[RunningDesk]:
    """Return one desk for a whole file of journeys."""
    desk = desks.start(tmp_path_factory.mktemp("desk"))
    yield desk
    end_and_judge(desk, pytestconfig)


@pytest.fixture(scope="module")
def console() -> list[str]:
    """Return the errors that the owner's pages wrote into their consoles; a test takes out those it provokes."""
    return []


@pytest.fixture(scope="module")
def owner_page(browser: Browser, running_desk: RunningDesk, console: list[str]) -> Page:
    """Return the owner's page, signed in once for the file."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.on("console", lambda message: console.append(message.text) if message.type == "error" else None)
    context.on("weberror", lambda error: console.append(str(error.error)))
    page = context.new_page()
    desks.sign_in(page, running_desk)
    return page


@pytest.fixture
def signed_in(owner_page: Page, console: list[str]) -> Iterator[Page]:
    """Return the owner's page; an error in any console of theirs fails the test that sees it."""
    console.clear()
    yield owner_page
    assert console == []
