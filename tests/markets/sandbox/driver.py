"""A seeded player that does to engine and reference exchange whatever members, operator and clock can do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from decimal import Decimal

from markets.sandbox.orders import Amendment, NewOrder, SelfTrade, TimeInForce
from tests.markets.sandbox.driveroperator import Operator
from tests.markets.sandbox.driverworld import COUNTS, PRICES, TIMES
from tests.markets.sandbox.modelparts import ModelOrder
from tests.markets.sandbox.pair import (
    MEMBERS,
    lots,
    units,
)


class Driver(Operator):
    """Plays one sequence from one seed."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.verbs: list[tuple[Callable[[], None], int]] = [
            (self.create, 66),
            (self.cancel, 4),
            (self.amend, 9),
            (self.decrease, 4),
            (self.cancel_all, 1),
            (self.change_group, 5),
            (self.wait, 9),
            (self.operate, 8),
            (self.move_money, 2),
        ]

    def play(self, steps: int) -> Counter[str]:
        """Play so many steps, comparing after each, and return how often what happened. Raises Difference."""
        verbs, weights = zip(*self.verbs, strict=True)
        for verb in self.rng.choices(verbs, weights, k=steps):
            verb()
            self.pair.compare_quickly()
        self.pair.compare_everything()
        self.pair.counts.update({f"fee branch {name}": times for name, times in self.model.branches.items()})
        return self.pair.counts

    # --- members

    def create(self) -> None:
        rng = self.rng
        if rng.random() < 0.35:
            self.pair.clock.advance(rng.randrange(50_000))
        tif = rng.choice(TIMES)
        group = self._group_number() if self.model.groups and rng.random() < 0.35 else None
        member, subaccount, ticker = self._whose(group)
        order = ModelOrder(
            member,
            subaccount,
            ticker,
            rng.random() < 0.5,
            self._price(),
            self._count(),
            tif=tif,
            self_trade=rng.choice(("taker_at_cross", "maker")),
            client_id=self._client_id(),
            expires=self._expiry() if tif == "good_till_canceled" or rng.random() < 0.2 else None,
            post_only=rng.random() < 0.14,
            reduce_only=rng.random() < (0.02 if tif == "good_till_canceled" else 0.3),
            cancel_on_pause=rng.random() < 0.3,
            group=group,
        )
        shard = rng.choice((None,) * 30 + (-1, 0, 1))
        new = self._wire(order, shard)
        answers = self.pair.both(
            f"create {tif}",
            lambda: self.engine.create_order(order.member, new),
            lambda: self.model.create(order, shard),
        )
        if answers is not None:
            ack, expected = answers
            self.pair.ids.append(ack.order_id)
            self._same_ack("create", (ack.filled, ack.remaining, ack.average_price, ack.average_fee), expected)
            self._note(order)

    def _whose(self, group: int | None) -> tuple[str, int, str]:
        """Return member, sub-account and ticker of a new order, mostly such that its group fits."""
        rng = self.rng
        ticker = rng.choice("AAAABC") if rng.random() < 0.99 else "NOWHERE"
        if group is not None and group < len(self.model.groups) and rng.random() < 0.93:
            place = self.model.groups[group]
            return place.member, place.subaccount, rng.choice("AAAB" if place.shard == 0 else "C")
        return rng.choice(MEMBERS), int(rng.random() < 0.1), ticker

    def _wire(self, order: ModelOrder, shard: int | None) -> NewOrder:
        group_id = "" if order.group is None else self._group_id(order.group)
        return NewOrder(
            order.ticker,
            order.is_bid,
            lots(order.initial),
            units(order.price),
            TimeInForce(order.tif),
            SelfTrade(order.self_trade),
            order.client_id,
            order.expires,
            order.post_only,
            order.reduce_only,
            order.cancel_on_pause,
            order.subaccount,
            group_id,
            shard,
        )

    def _note(self, order: ModelOrder) -> None:
        kinds = {
            order.tif: True,
            "post-only": order.post_only,
            "reduce-only": order.reduce_only,
            "with expiry": order.expires is not None,
            "in a group": order.group is not None,
            "cancel on pause": order.cancel_on_pause,
            "of a sub-account": order.subaccount > 0,
            f"self-trade {order.self_trade}": True,
        }
        self.pair.counts.update(f"order kind {kind}" for kind, applies in kinds.items() if applies)

    def _same_ack(self, what: str, found: tuple[int | None, ...], expected: object) -> None:
        filled, remaining = expected.filled, expected.remaining  # type: ignore[attr-defined]
        price, fee = expected.price, expected.fee  # type: ignore[attr-defined]
        wanted = (
            None if filled is None else lots(filled),
            None if remaining is None else lots(remaining),
            None if price is None else units(price),
            None if fee is None else units(fee),
        )
        self.pair.same(f"answer to {what}", found, wanted)

    def cancel(self) -> None:
        member, number = self._target()
        subaccount, ticker, shard = self._place(number)
        answers = self.pair.both(
            "cancel",
            lambda: self.engine.cancel_order(
                member, self._id(number), subaccount=subaccount, ticker=ticker, exchange_index=shard
            ),
            lambda: self.model.cancel(member, number, subaccount, ticker, shard),
        )
        if answers is not None:
            self.pair.same("reduced_by", answers[0].reduced_by, lots(answers[1]))

    def cancel_all(self) -> None:
        member, subaccount = self.rng.choice(MEMBERS), self.rng.choice((None, 0, 1))
        answers = self.pair.both(
            "cancel all",
            lambda: self.engine.cancel_all(member, subaccount=subaccount),
            lambda: self.model.cancel_all(member, subaccount),
        )
        self.pair.same("how many were canceled", *answers)

    def amend(self) -> None:
        rng, (member, number) = self.rng, self._target()
        subaccount, ticker, shard = self._place(number)
        wish = self._wish(member, number, ticker)
        renamed = self._client_id() if rng.random() < 0.3 else ""
        amendment = Amendment(
            wish.ticker,
            wish.is_bid,
            units(wish.price),
            lots(wish.initial),
            wish.client_id,
            renamed,
            wish.expires,
            shard,
        )
        answers = self.pair.both(
            "amend",
            lambda: self.engine.amend_order(member, self._id(number), amendment, subaccount=subaccount),
            lambda: self.model.amend(member, number, wish, subaccount, renamed, shard),
        )
        if answers is not None:
            ack, expected = answers
            self._same_ack("amend", (ack.filled, ack.remaining, ack.average_price, ack.average_fee), expected)

    def _wish(self, member: str, number: int, ticker: str) -> ModelOrder:
        rng = self.rng
        if number < 0:
            return ModelOrder(member, 0, "A", True, Decimal("0.5"), Decimal(1))
        order = self.model.orders[number]
        total = order.filled + rng.choice((order.remaining, order.remaining, *COUNTS, Decimal(0)))
        return ModelOrder(
            member,
            order.subaccount,
            ticker or order.ticker,
            order.is_bid if rng.random() < 0.95 else not order.is_bid,
            self._new_price(order),
            total,
            client_id=order.client_id if rng.random() < 0.4 else "" if rng.random() < 0.9 else "another",
            expires=rng.choice((None, None, None, 0, self._expiry())),
        )

    def _new_price(self, order: ModelOrder) -> Decimal:
        if order.post_only and self.rng.random() < 0.9:
            return PRICES[-1] if order.is_bid else PRICES[0]
        return order.price if self.rng.random() < 0.4 else self._price()

    def decrease(self) -> None:
        rng, (member, number) = self.rng, self._target()
        subaccount, ticker, shard = self._place(number)
        by = self._count() if rng.random() < 0.52 else None
        to = self._count() if by is None or rng.random() < 0.08 else None
        if by is None and rng.random() < 0.05:
            to = None
        answers = self.pair.both(
            "decrease",
            lambda: self.engine.decrease_order(
                member,
                self._id(number),
                reduce_by=None if by is None else lots(by),
                reduce_to=None if to is None else lots(to),
                subaccount=subaccount,
                ticker=ticker,
                exchange_index=shard,
            ),
            lambda: self.model.decrease(member, number, by, to, subaccount, ticker, shard),
        )
        if answers is not None:
            self.pair.same("what is left", answers[0].remaining, lots(answers[1]))

    # --- groups

    def _group_number(self) -> int:
        return self.rng.randrange(len(self.model.groups) + (self.rng.random() < 0.05))

    def _group_id(self, number: int) -> str:
        return self.pair.group_ids[number] if number < len(self.pair.group_ids) else "no-such-group"

    def change_group(self) -> None:
        rng = self.rng
        member = rng.choice(MEMBERS)
        limit = rng.choice((Decimal(1), Decimal(3), Decimal(8), Decimal("2.50"), Decimal(100), Decimal(0)))
        if not self.model.groups or rng.random() < 0.45:
            self._create_group(member, limit)
            return
        number = self._group_number()
        if number < len(self.model.groups) and rng.random() < 0.8:
            member = self.model.groups[number].member
        group_id = self._group_id(number)
        verb = rng.choice(("limit", "limit", "trigger", "reset", "reset", "reset", "delete"))
        acts: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
            "limit": (
                lambda: self.engine.set_group_limit(member, group_id, lots(limit)),
                lambda: self.model.set_group_limit(member, number, limit),
            ),
            "trigger": (
                lambda: self.engine.trigger_group(member, group_id),
                lambda: self.model.trigger_group(member, number),
            ),
            "reset": (
                lambda: self.engine.reset_group(member, group_id),
                lambda: self.model.reset_group(member, number),
            ),
            "delete": (
                lambda: self.engine.delete_group(member, group_id),
                lambda: self.model.delete_group(member, number),
            ),
        }
        self.pair.both(f"group {verb}", *acts[verb])

    def _create_group(self, member: str, limit: Decimal) -> None:
        subaccount, shard = self.rng.choice(((0, 0), (0, 0), (0, 1), (1, 0)))
        answers = self.pair.both(
            "group create",
            lambda: self.engine.create_group(member, lots(limit), subaccount=subaccount, exchange_index=shard),
            lambda: self.model.create_group(member, limit, subaccount, shard),
        )
        if answers is not None:
            self.pair.group_ids.append(answers[0].group_id)
