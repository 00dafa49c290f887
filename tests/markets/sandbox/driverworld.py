"""What a seeded player plays in: rules, members and markets by lot, and values drawn for its acts."""

from __future__ import annotations

import random
from decimal import Decimal

from tests.markets.sandbox.modelparts import Choices, ModelMarket
from tests.markets.sandbox.pair import (
    FEE_TYPES,
    GRIDS,
    MEMBERS,
    SECOND,
    START,
    Pair,
    grid,
)

TICKERS = ("A", "B", "C")  # C lies on shard 1
PRICES = [Decimal(text) for text in ("0.44", "0.48", "0.49", "0.50", "0.50", "0.51", "0.52", "0.55")]
EDGES = [Decimal(text) for text in ("0.01", "0.99", "0.05", "0.003", "0.997", "0.5150", "0.0001", "0", "1")]
COUNTS = [Decimal(text) for text in ("1.00", "2.00", "3.37", "0.27", "0.01", "5.00", "9.00", "12.50")]
TIMES = (*("good_till_canceled",) * 7, *("immediate_or_cancel",) * 2, "fill_or_kill")
PAUSES = (20_000, 400_000, 1_000_000, 4_000_000, 11_000_000)


class World:
    """One world built from one seed, on both exchanges."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        self.pair = Pair(rng, self._choices(seed))
        self.engine, self.model = self.pair.engine, self.pair.model
        self._build()

    def _choices(self, seed: int) -> Choices:
        rng = self.rng
        return Choices(
            trade_fee_step=rng.choice((Decimal("0.000001"), Decimal("0.0001"))),
            rebate_step=rng.choice((None, None, Decimal("0.01"))),
            self_trade_scope=rng.choice(("member", "subaccount")),
            reduce_only_allows_fok=rng.random() < 0.5,
            post_only_amend=rng.choice(("cancel", "cancel", "refuse")),
            group_limit=rng.choice(("hit", "exceeded")),
            margin="free" if seed % 4 == 3 else "balance",
        )

    def _build(self) -> None:
        rng, pair = self.rng, self.pair
        for name, precision, most in zip(MEMBERS, ("0.0001", "0.0001", "0.01"), (9, 300, 40), strict=True):
            pair.add_member(name, precision)
            self.engine.create_subaccount(name)
            pair.deposit(name, Decimal(rng.randint(2, most)), 0, 0)
            for subaccount, shard in ((1, 0), (0, 1)):
                if rng.random() < 0.85:
                    pair.deposit(name, Decimal(rng.randint(1, most)), subaccount, shard)
        for index, ticker in enumerate(TICKERS):
            structure = rng.choice(sorted(GRIDS))
            market = ModelMarket(
                ticker,
                shard=index // 2,
                opens=START + rng.choice((0, 0, 0, 2 * SECOND)),
                closes=START + rng.choice((30, 200, 600, 600)) * SECOND,
                timer=rng.choice((0, 3 * SECOND, 40 * SECOND)),
                grid=grid(structure),
                fee_type=rng.choice(FEE_TYPES),
                multiplier=rng.choice((Decimal(1), Decimal(1), Decimal("0.5"))),
                free_until=START + rng.choice((0, 0, 0, 5 * SECOND)),
            )
            pair.add_series(f"S{ticker}", market.fee_type, market.multiplier)
            pair.add_market(market, f"S{ticker}", structure)

    def _price(self) -> Decimal:
        return self.rng.choice(PRICES if self.rng.random() < 0.93 else EDGES)

    def _count(self) -> Decimal:
        return self.rng.choice(COUNTS) if self.rng.random() < 0.98 else Decimal(self.rng.choice((0, -1, 40)))

    def _client_id(self) -> str:
        if self.rng.random() < 0.3:
            return ""
        return f"c{self.rng.randrange(9)}" if self.rng.random() < 0.25 else f"u{self.rng.getrandbits(60)}"

    def _target(self) -> tuple[str, int]:
        """Return a member and the number of an order: mostly a resting one of that member, sometimes any or none."""
        resting = [order for order in self.model.orders if order.status == "resting"]
        if resting and self.rng.random() < 0.93:
            order = self.rng.choice(resting)
            return order.member, order.number
        return self.rng.choice(MEMBERS), self.rng.randrange(-1, len(self.model.orders))

    def _id(self, number: int) -> str:
        return self.pair.ids[number] if number >= 0 else "nobody-knows-it"

    def _place(self, number: int) -> tuple[int, str, int | None]:
        """Return sub-account, ticker and shard to name with an order's number: mostly the right ones."""
        rng = self.rng
        if number < 0:
            return 0, "", None
        order = self.model.orders[number]
        subaccount = order.subaccount if rng.random() < 0.97 else rng.randrange(2)
        ticker = order.ticker if rng.random() < 0.9 else rng.choice(("", *TICKERS))
        return subaccount, ticker, rng.choice((None, None, None, -1, order.shard, rng.randrange(2)))

    def _expiry(self) -> int | None:
        if self.rng.random() < 0.85:
            return None
        return (self.pair.clock.us // SECOND + self.rng.choice((-1, 0, 1, 2, 5, 30))) * SECOND
