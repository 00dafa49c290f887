"""Journeys run on the product itself: `serve` in its own process, Chromium in front of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.journeys import desk as desks
from tests.journeys.desk import CHROMIUM_SWITCHES, RunningDesk


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
def start_desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., RunningDesk]]:
    """Return a function that starts a desk of its own; what it started ends with the test."""
    started: list[RunningDesk] = []

    def run(*options: str, data_dir: Path | None = None) -> RunningDesk:
        desk = desks.start(data_dir or tmp_path_factory.mktemp("desk"), *options)
        started.append(desk)
        return desk

    yield run
    for desk in started:
        if desk.process.poll() is None:
            desk.stop()


@pytest.fixture(scope="module")
def running_desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDesk]:
    """Return one desk for a whole file of journeys."""
    desk = desks.start(tmp_path_factory.mktemp("desk"))
    yield desk
    if desk.process.poll() is None:
        desk.stop()


@pytest.fixture(scope="module")
def signed_in(browser: Browser, running_desk: RunningDesk) -> Iterator[Page]:
    """Return the owner's page; any error in its console fails the test that sees it."""
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    desks.sign_in(page, running_desk)
    yield page
    assert errors == []
