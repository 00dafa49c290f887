"""Seeded life: one seed gives one life, books have depth, and what closes is followed by what comes next."""

from __future__ import annotations

from itertools import pairwise

from markets.sandbox.listing import HOUR_US, MINUTE_US, Listing
from markets.sandbox.makers import Makers
from markets.sandbox.numbers import SECOND
from markets.sandbox.orders import NewOrder
from markets.sandbox.venue import Venue

NOON_US = 1_795_608_000 * SECOND


class Life:
    """A venue whose clock stands still unless it is moved."""

    def __init__(self, *, seed: int = 0, markets: int = 40) -> None:
        self.venue = Venue(seed=seed)
        self.venue.clock.held_us = NOON_US
        self.listing = Listing(self.venue, markets=markets)
        self.makers = Makers(self.venue, self.listing, seed=seed)
        self.listing.fill()
        self.makers.begin()

    def pass_time(self, us: int) -> None:
        self.venue.clock.advance(us)
        self.venue.exchange.tick()
        self.listing.roll()

    def books(self) -> dict[str, object]:
        exchange = self.venue.exchange
        return {ticker: (exchange.book(ticker), exchange.quote(ticker)) for ticker in exchange.markets}


def test_the_default_catalogue_has_many_kinds_of_markets() -> None:
    exchange = Life().venue.exchange

    assert len(exchange.markets) == 40
    assert len(exchange.events) >= 10
    assert len({series.category for series in exchange.series.values()}) >= 8
    assert len({market.price_level_structure for market in exchange.markets.values()}) >= 6
    within_the_hour = [market for market in exchange.markets.values() if market.close_us <= NOON_US + HOUR_US]
    assert len(within_the_hour) >= 3


def test_as_many_markets_are_listed_as_wanted() -> None:
    for wanted in (5, 150):
        assert len(Life(markets=wanted).venue.exchange.markets) == wanted


def test_every_book_has_depth_on_both_sides_and_is_not_crossed() -> None:
    life = Life()
    for _ in range(100):
        life.makers.step()

    for ticker in life.venue.exchange.markets:
        book = life.venue.exchange.book(ticker)
        assert len(book.bids) + len(book.asks) >= 8, ticker
        if book.bids and book.asks:
            assert book.bids[0][0] < book.asks[0][0], ticker


def test_books_move_and_markets_trade() -> None:
    life = Life()
    before = life.books()
    for _ in range(200):
        life.makers.step()

    after = life.books()
    assert sum(before[ticker] != after[ticker] for ticker in after) >= 25
    assert sum(bool(life.venue.exchange.trades(ticker)) for ticker in after) >= 15


def test_the_same_seed_gives_the_same_life_and_another_one_another() -> None:
    lives = [Life(seed=seed) for seed in (7, 7, 8)]
    for life in lives:
        for _ in range(100):
            life.makers.step()

    first, again, other = (life.books() for life in lives)
    assert first == again
    assert first != other


def test_a_members_best_order_is_met_now_and_then() -> None:
    life = Life()
    exchange = life.venue.exchange
    member = life.venue.open_account("patient")
    ticker = next(iter(exchange.markets))
    quote = exchange.quote(ticker)
    exchange.create_order(member.member_id, NewOrder(ticker, True, 1000, quote.bid + 100))

    for _ in range(3000):
        life.makers.step()

    assert exchange.fills(member.member_id) != []


def test_what_rolls_is_followed_by_the_next_event_and_gets_its_result() -> None:
    life = Life()
    exchange = life.venue.exchange
    first = next(ticker for ticker in exchange.markets if ticker.startswith("KXCOIN15M"))

    for _ in range(20):
        life.pass_time(MINUTE_US)

    assert exchange.markets[first].status == "finalized"
    assert exchange.markets[first].result in {"yes", "no"}
    following = [market for ticker, market in exchange.markets.items() if ticker.startswith("KXCOIN15M")]
    assert len(following) >= 2
    assert all(later.close_us - sooner.close_us == 15 * MINUTE_US for sooner, later in pairwise(following))
    assert following[-1].status == "active"


def test_a_new_event_is_quoted_as_soon_as_the_makers_come_by() -> None:
    life = Life()
    known = set(life.venue.exchange.markets)
    for _ in range(20):
        life.pass_time(MINUTE_US)
    for _ in range(300):
        life.makers.step()

    new = [ticker for ticker in life.venue.exchange.markets if ticker not in known and "COIN15M" in ticker]
    assert life.venue.exchange.quote(new[-1]).bid > 0


def test_the_house_steps_aside_when_members_alone_are_wanted() -> None:
    life = Life()
    exchange = life.venue.exchange
    member = life.venue.open_account("first")
    ticker = next(ticker for ticker in exchange.markets if exchange.quote(ticker).bid > 1000)
    best = exchange.quote(ticker).bid
    exchange.create_order(member.member_id, NewOrder(ticker, True, 4000, best))

    matched = life.makers.take_from_members(ticker, is_bid=False, price=best, count=1500)

    assert matched == 1500
    assert [fill.count for fill in exchange.fills(member.member_id)] == [1500]
