"""An embedded Valkey for the tests that need a real store, started once and emptied for each."""

from __future__ import annotations

import json
import random
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from redis.asyncio import Redis

from markets.layers import StoreLayer
from tests.journeys.desk import CHROMIUM_SWITCHES
from tests.kalshiweb.valkeys import RunningValkey, valkey_in

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.markets.marketpage import MarketPage

STATIC = Path(__file__).resolve().parent.parent.parent / "static"


@pytest.fixture(scope="session")
def session_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningValkey]:
    """Return the server that all tests share; it is never stopped by a test."""
    with valkey_in(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def shared_valkey(session_valkey: RunningValkey) -> Iterator[RunningValkey]:
    """Return the shared server, emptied again after the test."""
    yield session_valkey
    session_valkey.flush()


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[RunningValkey]:
    """Return a server of the test's own, to be killed and started at will."""
    with valkey_in(tmp_path) as server:
        yield server


@pytest.fixture
async def store(shared_valkey: RunningValkey) -> AsyncIterator[Redis]:
    """Return a connection to the shared server."""
    client = Redis.from_url(shared_valkey.url)
    yield client
    await client.aclose()


@pytest.fixture
def small_tape(tmp_path: Path) -> Path:
    """Return a recording of one market, made up: a snapshot with both sides, then changes of both, and a second one."""
    dice = random.Random(7)
    truth: dict[tuple[str, str], int] = {("yes", "0.4000"): 900, ("no", "0.5000"): 700}
    frames: list[dict[str, Any]] = [_snapshot(truth)]
    for number in range(150):
        side, price = dice.choice(["yes", "no"]), f"0.{dice.randrange(20, 45)}00"
        old = truth.get((side, price), 0)
        new = dice.choice([0, 100, 250, 1_000])
        truth[side, price] = new
        change = {"market_ticker": "T-1", "side": side, "price_dollars": price, "delta_fp": f"{(new - old) / 100:.2f}"}
        frames.append(_snapshot(truth) if number == 90 else {"type": "orderbook_delta", "msg": change})
    path = tmp_path / "small.jsonl"
    path.write_text("\n".join(json.dumps({"recv_ms": at, "frame": frame}) for at, frame in enumerate(frames)))
    return path


def _snapshot(truth: dict[tuple[str, str], int]) -> dict[str, Any]:
    sides = {side: [[p, f"{c / 100:.2f}"] for (s, p), c in truth.items() if s == side and c] for side in ("yes", "no")}
    message = {"market_ticker": "T-1", "yes_dollars_fp": sides["yes"], "no_dollars_fp": sides["no"]}
    return {"type": "orderbook_snapshot", "msg": message}


def layer_on(server: RunningValkey) -> StoreLayer:
    """Return a channel layer of one process on this server."""
    return StoreLayer(url=server.url, prefix="tests")


class _Static(SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        return


@pytest.fixture(scope="module")
def static_page() -> Iterator[Page]:
    """Return a page of a browser beside our own static files, and nothing else."""
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium")
    if found is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Static, directory=str(STATIC)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=CHROMIUM_SWITCHES)
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/js/book.js")
        yield page
        browser.close()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def timed_page(static_page: Page) -> Iterator[Page]:
    """Return a new page beside the same files, whose clock the test may set."""
    browser = static_page.context.browser
    assert browser is not None
    page = browser.new_page()
    page.clock.install()
    page.goto(static_page.url)
    yield page
    page.close()


@pytest.fixture
def open_page(static_page: Page) -> Iterator[Callable[..., MarketPage]]:
    """Return a function that opens the market page with a live book; every page ends with the test."""
    from tests.markets.marketpage import ASKS, BIDS, MarketPage

    opened: list[MarketPage] = []
    browser = static_page.context.browser
    assert browser is not None

    def opening(**options: Any) -> MarketPage:
        opened.append(MarketPage(browser, **options))
        opened[-1].book(BIDS, ASKS)
        return opened[-1]

    yield opening
    for one in opened:
        one.page.close()
