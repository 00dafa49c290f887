"""The same desk on PostgreSQL and Redis: two variables, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests import servers
from tests.journeys import desk as desks
from tests.journeys.desk import RunningDesk
from tests.journeys.ticket import open_market_with_room, place

pytestmark = pytest.mark.browser


def test_books_live_and_an_order_rests_on_postgresql_and_redis(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start_desk: Callable[..., RunningDesk]
) -> None:
    with servers.postgresql() as database_url, servers.redis() as redis_url:
        monkeypatch.setenv("DATABASE_URL", database_url)
        monkeypatch.setenv("REDIS_URL", redis_url)
        desk = start_desk(data_dir=tmp_path / "desk")
        try:
            page = browser.new_page()
            desks.sign_in(page, desk)
            _, price = open_market_with_room(page, desk)

            place(page, price_cents=str(price // 100), count="10")

            state = page.get_by_test_id("order-row").first.get_by_test_id("order-state")
            expect(state).to_contain_text("resting", timeout=5_000)
        finally:
            desk.stop()  # while its database is there
    assert not (tmp_path / "desk" / "kalshiweb.sqlite3").exists()
    assert "valkey" not in "".join(desk.lines)
