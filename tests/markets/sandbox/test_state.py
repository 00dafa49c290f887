"""Keeping an exchange: what is exported as JSON is the exchange, and it goes on as if nothing had been."""

from __future__ import annotations

import json
import random

import pytest

from markets.sandbox.clockwork import ManualClock, SystemClock
from markets.sandbox.exchange import Exchange
from markets.sandbox.orders import OrderStatus
from markets.sandbox.refusals import Refusal
from tests.markets.sandbox.cast import HOUR, NOW, SECOND, Cast, M, count, money, price
from tests.markets.sandbox.driver import Driver


def restored(exchange: Exchange, clock: ManualClock) -> Exchange:
    """Write an exchange down as JSON and read it into another."""
    text = json.dumps(exchange.export_state())
    again = Exchange(clock=clock, rng=random.Random(999), rules=exchange.rules)
    again.import_state(json.loads(text))
    return again


@pytest.mark.parametrize("seed", range(20))
def test_what_is_exported_comes_back_whole_after_any_sequence(seed: int) -> None:
    driver = Driver(seed)
    driver.play(120)
    again = restored(driver.engine, driver.pair.clock)

    assert again.export_state() == driver.engine.export_state()


def test_a_restored_exchange_goes_on_like_the_first() -> None:
    cast = Cast(settlement_timer_us=30 * SECOND)
    group = cast.exchange.create_group("ann", count("3")).group_id
    first = cast.bid("bob", "5", "0.48")
    second = cast.bid("ann", "5", "0.48", group_id=group, client_order_id="once")
    short = cast.bid("ann", "5", "0.47", expires_us=NOW + 60 * SECOND)
    cast.ask("flo", "2", "0.48")
    again = cast.exchange = restored(cast.exchange, cast.clock)

    assert cast.order("bob", first).filled == 200
    cast.ask("flo", "6", "0.48")
    assert cast.order("bob", first).status is OrderStatus.EXECUTED  # still first in line
    assert cast.order("ann", second).status is OrderStatus.CANCELED  # its group still counts
    with pytest.raises(Refusal):
        cast.bid("ann", "1", "0.40", client_order_id="once")
    cast.wait(60)
    assert cast.order("ann", short).status is OrderStatus.CANCELED
    again.determine(M, "yes")
    cast.wait(30)
    assert again.market(M).status == "finalized"
    assert cast.exchange.settlements("ann")[0].revenue == money("3")


def test_what_fell_due_while_it_was_away_is_done_at_its_own_time() -> None:
    cast = Cast(close_us=NOW + HOUR)
    order = cast.bid("ann", "5", "0.48", expires_us=NOW + 60 * SECOND)
    text = json.dumps(cast.exchange.export_state())
    cast.clock.advance(2 * HOUR)
    cast.exchange = Exchange(clock=cast.clock, rng=random.Random(1))
    cast.exchange.import_state(json.loads(text))

    assert cast.order("ann", order).updated_us == NOW + 60 * SECOND
    assert cast.exchange.market(M).status == "closed"


def test_ids_go_on_from_where_they_were() -> None:
    cast = Cast()
    again = restored(cast.exchange, cast.clock)

    assert again.new_id() == cast.exchange.new_id()


def test_the_statistics_of_the_day_come_back() -> None:
    cast = Cast(close_us=NOW + 72 * HOUR)
    cast.ask("bob", "3", "0.50")
    cast.bid("ann", "3", "0.50")
    cast.wait(23 * 3600)
    again = restored(cast.exchange, cast.clock)
    assert again.quote(M).volume_24h == 300
    cast.clock.advance(2 * HOUR)

    quote = again.quote(M)
    assert (quote.volume_24h, quote.volume, quote.previous_price) == (0, 300, price("0.5"))


def test_only_an_empty_exchange_takes_over_a_state_and_only_of_its_version() -> None:
    cast = Cast()
    saved = cast.exchange.export_state()

    with pytest.raises(ValueError, match="empty"):
        cast.exchange.import_state(saved)
    fresh = Exchange(clock=cast.clock, rng=random.Random(1))
    with pytest.raises(ValueError, match="version"):
        fresh.import_state({**saved, "version": 0})
    assert fresh.members == {}


def test_two_exchanges_of_one_seed_say_the_same() -> None:
    told = []
    for _ in range(2):
        cast = Cast()
        cast.ask("bob", "3", "0.50")
        cast.bid("ann", "3", "0.50")
        told.append(cast.told)

    assert told[0] == told[1]


def test_a_clock_never_runs_backwards() -> None:
    clock = ManualClock()
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(-1)

    system = SystemClock()
    assert system.now_us() <= system.now_us()
