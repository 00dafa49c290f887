"""What is listed on the local exchange: several kinds of questions, some of which close within the hour and come anew.

The questions are made up; tickers, price grids, fee types and life cycles are those that the real exchange has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

from markets.sandbox.catalogue import MULTIPLIER, Event, FeeType, Market, MarketStatus, Series
from markets.sandbox.grid import STRUCTURES
from markets.sandbox.numbers import DOLLAR, SECOND
from markets.sandbox.venue import Venue

DEFAULT_MARKETS = 40
MINUTE_US = 60 * SECOND
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US
RESULT_AFTER_US = 2 * SECOND


@dataclass(frozen=True, slots=True)
class Outcome:
    """One market of an event: how its ticker ends, its sub-title, its first price in $0.0001, its strikes if any."""

    suffix: str
    name: str
    price: int
    strikes: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Question:
    """One series and the pattern of its events. `every_us` lists a new event each time the last one closes."""

    ticker: str
    title: str
    category: str
    occasion: str  # of one event; {when} is its day or hour
    outcomes: tuple[Outcome, ...]
    lasts_us: int
    is_exclusive: bool = False
    rolls: bool = False
    structure: str = "linear_cent"
    fee_type: FeeType = FeeType.QUADRATIC
    fee_multiplier: int = MULTIPLIER
    tags: tuple[str, ...] = ()
    frequency: str = "daily"


def _ladder(unit: str, strikes: tuple[tuple[float, int], ...]) -> tuple[Outcome, ...]:
    return tuple(
        Outcome(f"T{strike:g}", f"Above {strike:g}{unit}", price, {"strike_type": "greater", "floor_strike": strike})
        for strike, price in strikes
    )


def _ranges(first: int, width: int, prices: tuple[int, ...]) -> tuple[Outcome, ...]:
    found = []
    for number, price in enumerate(prices):
        low = first + number * width
        strikes = {"strike_type": "between", "floor_strike": low, "cap_strike": low + width - 1}
        found.append(Outcome(f"B{low}", f"{low}° to {low + width - 1}°", price, strikes))
    return tuple(found)


QUESTIONS = (
    Question(
        "KXHIGHRIVERTON",
        "Highest temperature in Riverton",
        "Climate and Weather",
        "Highest temperature in Riverton on {when}?",
        _ranges(48, 2, (400, 1400, 3300, 2900, 1300, 600)),
        DAY_US,
        is_exclusive=True,
        tags=("Daily temperature",),
    ),
    Question(
        "KXCOIN15M",
        "Coin index, next 15 minutes",
        "Crypto",
        "Will the coin index be higher at {when}?",
        (Outcome("UP", "Higher", 5000, {"strike_type": "greater_or_equal", "floor_strike": 91_250}),),
        15 * MINUTE_US,
        rolls=True,
        structure="tapered_deci_cent",
        frequency="fifteen_min",
        tags=("15 minutes",),
    ),
    Question(
        "KXMETALH",
        "Gold, hourly",
        "Commodities",
        "Gold price at {when}?",
        _ladder("", ((4045, 8700), (4050, 6200), (4055, 3600), (4060, 1500))),
        HOUR_US,
        rolls=True,
        frequency="hourly",
        tags=("Hourly",),
    ),
    Question(
        "KXLEAGUEGAME",
        "Winner of the league game",
        "Sports",
        "Harbor City at Mill Valley, {when}: who wins?",
        (Outcome("HAR", "Harbor City", 4400), Outcome("MIL", "Mill Valley", 5600)),
        5 * HOUR_US,
        is_exclusive=True,
        fee_type=FeeType.WITH_MAKER,
        fee_multiplier=MULTIPLIER // 2,
        tags=("Basketball",),
        frequency="custom",
    ),
    Question(
        "KXINDEXD",
        "Stock index, daily close",
        "Financials",
        "Where does the stock index close on {when}?",
        _ladder("", ((6700, 9300), (6750, 7900), (6800, 5200), (6850, 2400), (6900, 700))),
        DAY_US,
        structure="deci_cent",
        tags=("Daily",),
    ),
    Question(
        "KXPRICES",
        "Inflation, month on month",
        "Economics",
        "Inflation in the month before {when}?",
        _ladder("%", ((0.1, 9100), (0.2, 7000), (0.3, 3800), (0.4, 1100))),
        20 * DAY_US,
        structure="center_half_edge_deci_cent",
        frequency="monthly",
        tags=("Inflation",),
    ),
    Question(
        "KXRATE",
        "Central bank decision",
        "Economics",
        "What does the central bank do by {when}?",
        (
            Outcome("HOLD", "No change", 6800),
            Outcome("CUT25", "Cut by 25 points", 2700),
            Outcome("CUT50", "Cut by more", 300),
            Outcome("HIKE", "Any hike", 200),
        ),
        16 * DAY_US,
        is_exclusive=True,
        structure="center_quint_edge_deci_cent",
        frequency="custom",
        tags=("Rates",),
    ),
    Question(
        "KXMAYOR",
        "Mayor of Riverton",
        "Politics",
        "Who is elected mayor of Riverton by {when}?",
        (
            Outcome("OKA", "Ada Okafor", 4700),
            Outcome("LIN", "Per Lindqvist", 3500),
            Outcome("RUI", "Inés Ruiz", 1500),
            Outcome("OTH", "Somebody else", 300),
        ),
        60 * DAY_US,
        is_exclusive=True,
        structure="center_whole_edge_half_cent",
        frequency="custom",
        tags=("Local elections",),
    ),
    Question(
        "KXOPENING",
        "Opening weekend",
        "Entertainment",
        "How does the film of the week open by {when}?",
        _ladder("M", ((40, 8200), (50, 5600), (60, 2800), (75, 900), (100, 200))),
        3 * DAY_US,
        structure="center_whole_edge_quint_cent",
        frequency="weekly",
        tags=("Movies",),
    ),
    Question(
        "KXLAUNCH",
        "Next launch of the heavy rocket",
        "Science and Technology",
        "Does the heavy rocket fly by {when}?",
        (Outcome("W1", "Within a week", 1800), Outcome("W2", "Within two weeks", 4500)),
        14 * DAY_US,
        structure="center_centi_edge_centi_cent",
        frequency="custom",
        tags=("Space",),
    ),
    Question(
        "KXRAINH",
        "Rain in the next hour",
        "Climate and Weather",
        "Does it rain in Riverton by {when}?",
        (Outcome("RAIN", "It rains", 2200), Outcome("STORM", "There is thunder", 600)),
        HOUR_US,
        rolls=True,
        frequency="hourly",
        tags=("Hourly",),
    ),
)


class Listing:
    """Keeps the catalogue of one venue filled: as many markets as wanted, and a new event for each that rolls."""

    def __init__(self, venue: Venue, *, markets: int = DEFAULT_MARKETS) -> None:
        self._venue = venue
        self._wanted = markets
        self._present_us: int | None = None
        self._opened_us: int | None = None
        self.first_price: dict[str, int] = {}
        self.fair: Callable[[str], int] = lambda ticker: self.first_price.get(ticker, DOLLAR // 2)

    def fill(self, *, at_us: int | None = None, opened_us: int | None = None) -> None:
        """List what is missing: each question once, then further days of each until there are enough markets.

        `at_us` is the present where the venue's clock has not come there yet; what does not roll opens at `opened_us`.
        """
        self._present_us, self._opened_us = at_us, opened_us
        self._remember()
        self._fill()
        self._present_us = self._opened_us = None

    def _now(self) -> int:
        return self._venue.now_us() if self._present_us is None else self._present_us

    def _fill(self) -> None:
        open_now = sum(1 for _ in self.traded())
        for question, day in self._plan():
            if open_now >= self._wanted:
                return
            ticker = event_ticker(question, self._close_of(question, day))
            if ticker not in self._venue.exchange.events:
                open_now += self._list(question, self._close_of(question, day), room=self._wanted - open_now)

    def _plan(self) -> Iterator[tuple[Question, int]]:
        for day in count():
            for question in QUESTIONS:
                if day == 0 or not question.rolls:
                    yield question, day

    def traded(self) -> Iterator[Market]:
        """Yield the markets that trade, recordings left out."""
        for market in self._venue.exchange.markets.values():
            if market.status is MarketStatus.ACTIVE and not market.is_replay:
                yield market

    def roll(self) -> None:
        """Give results to what closed, and list the next event of what rolls."""
        now = self._venue.now_us()
        exchange = self._venue.exchange
        for market in list(exchange.markets.values()):
            if (
                market.status is MarketStatus.CLOSED
                and not market.is_replay
                and market.close_us + RESULT_AFTER_US < now
            ):
                exchange.determine(market.ticker, "yes" if self.fair(market.ticker) >= DOLLAR // 2 else "no")
        for question in QUESTIONS:
            if question.rolls and question.ticker in exchange.series:
                closes = self._close_of(question, 0)
                if event_ticker(question, closes) not in exchange.events:
                    self._list(question, closes, room=len(question.outcomes))

    # --- one event -----------------------------------------------------------------------------------

    def _close_of(self, question: Question, day: int) -> int:
        """Return when the current event of a question closes; those of later days follow at its distance."""
        now = self._now()
        step = question.lasts_us if question.rolls else max(question.lasts_us, DAY_US)
        closes = (now // step + 1) * step
        # What closes in a moment is not worth listing.
        if question.rolls and closes - now < step // 15:
            closes += step
        return closes + day * step

    def _list(self, question: Question, close_us: int, *, room: int) -> int:
        exchange = self._venue.exchange
        rolled_us = self._now() - HOUR_US
        opened_us = rolled_us if question.rolls or self._opened_us is None else self._opened_us
        if question.ticker not in exchange.series:
            exchange.add_series(_series(question))
        ticker = event_ticker(question, close_us)
        when = _day(close_us)
        exchange.add_event(
            Event(
                ticker,
                question.ticker,
                question.occasion.format(when=when),
                sub_title=f"By {when}",
                mutually_exclusive=question.is_exclusive,
                collateral_return_type="MECNET" if question.is_exclusive else "",
                strike_us=close_us,
            )
        )
        listed = question.outcomes[:room]
        for outcome in listed:
            market = _market(
                question, outcome, ticker, open_us=opened_us, close_us=close_us, market_id=exchange.new_id()
            )
            self.first_price[market.ticker] = outcome.price
            exchange.add_market(market)
        return len(listed)

    def _remember(self) -> None:
        """Find the first prices of markets that a state brought back."""
        prices = {
            (question.ticker, outcome.suffix): outcome.price for question in QUESTIONS for outcome in question.outcomes
        }
        for market in self.traded():
            series = self._venue.series_of(market)
            suffix = market.ticker.rpartition("-")[2]
            self.first_price[market.ticker] = market.last_price or prices.get((series, suffix), DOLLAR // 2)


def event_ticker(question: Question, close_us: int) -> str:
    """Return the ticker of the event that closes then; hourly ones carry the time of day."""
    closes = datetime.fromtimestamp(close_us // SECOND, UTC)
    day = closes.strftime("%y%b%d").upper()
    return f"{question.ticker}-{day}{closes.strftime('%H%M') if question.lasts_us < DAY_US else ''}"


def _day(close_us: int) -> str:
    closes = datetime.fromtimestamp(close_us // SECOND, UTC)
    if closes.hour or closes.minute:
        return closes.strftime("%b %-d, %H:%M UTC")
    return (closes - timedelta(seconds=1)).strftime("%b %-d, %Y")


def _series(question: Question) -> Series:
    return Series(
        question.ticker,
        question.title,
        question.category,
        frequency=question.frequency,
        tags=question.tags,
        fee_type=question.fee_type,
        fee_multiplier=question.fee_multiplier,
    )


def _market(question: Question, outcome: Outcome, event: str, *, open_us: int, close_us: int, market_id: str) -> Market:
    title = f"{question.title}: {outcome.name}"
    rules = f"If the outcome is {outcome.name!r} when the market closes, it resolves to Yes. Play money only."
    return Market(
        ticker=f"{event}-{outcome.suffix}",
        event_ticker=event,
        market_id=market_id,
        open_us=open_us,
        close_us=close_us,
        title=title,
        yes_sub_title=outcome.name,
        no_sub_title=outcome.name,
        expected_expiration_us=close_us + HOUR_US,
        latest_expiration_us=close_us + 7 * DAY_US,
        settlement_timer_us=SECOND,
        price_level_structure=question.structure,
        bands=STRUCTURES[question.structure],
        details={
            "early_close_condition": "The operator may close it early.",
            "rules_primary": rules,
            "rules_secondary": "",
            **outcome.strikes,
        },
    )
