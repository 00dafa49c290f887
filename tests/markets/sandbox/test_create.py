"""A new order: what is refused, with which status, code and details, and that a refusal changes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from markets.sandbox.orders import NewOrder, OrderStatus, UpdateReason
from markets.sandbox.refusals import Refusal
from markets.sandbox.rules import AUGUST_2026, Rules
from tests.markets.sandbox.cast import FOK, IOC, NOW, SECOND, Cast, M, count, money, price, refusal


@pytest.fixture
def cast() -> Cast:
    return Cast()


def refused(cast: Cast, **changes: Any) -> tuple[int, str, str | None]:
    """Enter ann's bid for 1 at 0.48 with changes, and return how it was refused; nothing may have happened."""
    facts = {"ticker": M, "is_bid": True, "count": count("1"), "price": price("0.48"), **changes}
    before = (cast.levels(), cast.cash("ann"), len(cast.told), len(cast.exchange.orders("ann")))
    with pytest.raises(Refusal) as error:
        cast.exchange.create_order("ann", NewOrder(**facts))
    assert (cast.levels(), cast.cash("ann"), len(cast.told), len(cast.exchange.orders("ann"))) == before
    return refusal(error)


def test_an_unknown_market_is_not_found(cast: Cast) -> None:
    assert refused(cast, ticker="NOWHERE") == (404, "not_found", None)


def test_another_shard_does_not_know_the_market(cast: Cast) -> None:
    assert refused(cast, exchange_index=1) == (404, "not_found", None)
    assert cast.bid("ann", "1", "0.48", exchange_index=0).remaining == 100
    assert cast.bid("ann", "1", "0.48", exchange_index=-1).remaining == 100


@pytest.mark.parametrize("size", [0, -100])
def test_a_count_that_is_not_positive_is_refused(cast: Cast, size: int) -> None:
    assert refused(cast, count=size) == (400, "invalid_order_size", None)


@pytest.mark.parametrize("off", [5150, 4801, 0, 10_000, -100, 10_100])
def test_a_price_off_the_grid_is_refused(cast: Cast, off: int) -> None:
    assert refused(cast, price=off) == (400, "invalid_price", None)


def test_a_finer_grid_at_the_edges_takes_finer_prices_there_only() -> None:
    cast = Cast(structure="tapered_deci_cent")

    assert refused(cast, price=price("0.485")) == (400, "invalid_price", None)
    assert cast.bid("ann", "1", "0.085").remaining == 100
    assert cast.bid("ann", "1", "0.1").remaining == 100  # the edge is on both grids


def test_reduce_only_needs_a_time_in_force_that_cannot_rest(cast: Cast) -> None:
    details = "reduce_only can only be used with IoC or FoK orders"

    assert refused(cast, reduce_only=True) == (400, "invalid_order", details)
    assert refused(cast, reduce_only=True, time_in_force=FOK) == (400, "invalid_order", details)


def test_an_expiry_must_lie_ahead_and_needs_good_till_canceled(cast: Cast) -> None:
    in_future = "Expiration timestamp must be in the future"
    both = "Cannot specify both immediate_or_cancel and expiration_ts"

    assert refused(cast, expires_us=NOW) == (400, "invalid_order", in_future)
    assert refused(cast, expires_us=NOW + SECOND, time_in_force=IOC) == (400, "invalid_order", both)
    assert cast.bid("ann", "1", "0.48", expires_us=NOW + SECOND).remaining == 100


def test_the_code_of_a_bad_expiry_is_a_rule() -> None:
    cast = Cast(Rules(bad_expiry_code="invalid_parameters"))

    assert refused(cast, expires_us=NOW)[1] == "invalid_parameters"


def test_post_only_is_refused_where_it_would_cross(cast: Cast) -> None:
    cast.ask("bob", "1", "0.48")

    assert refused(cast, post_only=True) == (400, "invalid_order", "post only cross")
    assert cast.bid("ann", "1", "0.47", post_only=True).remaining == 100


def test_post_only_is_refused_in_front_of_an_own_order_too(cast: Cast) -> None:
    cast.ask("ann", "1", "0.48")

    assert refused(cast, post_only=True) == (400, "invalid_order", "post only cross")


def test_a_client_order_id_is_used_up_for_ever(cast: Cast) -> None:
    first = cast.bid("ann", "1", "0.40", client_order_id="once")
    assert refused(cast, client_order_id="once") == (409, "order_already_exists", None)

    cast.exchange.cancel_order("ann", first.order_id)
    assert refused(cast, client_order_id="once") == (409, "order_already_exists", None)
    assert cast.bid("bob", "1", "0.40", client_order_id="once").remaining == 100  # another account's ids are its own


def test_orders_without_a_client_order_id_do_not_collide(cast: Cast) -> None:
    cast.bid("ann", "1", "0.40")

    assert cast.bid("ann", "1", "0.40").client_order_id == ""


# --- money


def test_cost_and_fee_of_the_order_alone_must_be_covered(cast: Cast) -> None:
    # 100 at 0.98 cost 98 and a taker's fee of 0.07 × 100 × 0.98 × 0.02 = 0.1372.
    cast.exchange.deposit("ann", -money("1.8628"))
    cast.ask("bob", "1", "0.99")

    assert cast.bid("ann", "100", "0.98").remaining == 10_000
    cast.exchange.deposit("ann", -money("0.0001"))
    assert refused(cast, count=10_000, price=price("0.98")) == (400, "insufficient_balance", None)


def test_an_ask_costs_the_no_price(cast: Cast) -> None:
    # 125 at 0.20 ties up 125 × 0.80 = 100, and the fee comes on top.
    assert refused(cast, is_bid=False, count=12_500, price=price("0.20")) == (400, "insufficient_balance", None)
    assert cast.ask("ann", "123", "0.20").remaining == 12_300


def test_resting_orders_lock_no_money(cast: Cast) -> None:
    for _ in range(3):
        assert cast.bid("ann", "150", "0.60").remaining == 15_000

    assert cast.cash("ann") == "100"


def test_an_order_that_closes_a_position_needs_no_money_for_it(cast: Cast) -> None:
    cast.ask("bob", "100", "0.90")
    cast.bid("ann", "100", "0.90")  # 90 and a fee of 0.63 are gone
    cast.exchange.deposit("ann", -money("9.37"))
    assert cast.cash("ann") == "0"

    assert cast.ask("ann", "100", "0.95").remaining == 10_000
    assert refused(cast, is_bid=False, count=20_000, price=price("0.05")) == (400, "insufficient_balance", None)


def test_a_shard_that_never_got_money_is_not_known_there(cast: Cast) -> None:
    cast.list_market("KXBTC-M", exchange_index=2)

    status, code, details = refused(cast, ticker="KXBTC-M")
    assert (status, code) == (404, "insufficient_shard_balance")
    assert details is not None and details.startswith("Exchange user not found.")


def test_a_maker_without_money_is_canceled_when_it_is_met(cast: Cast) -> None:
    poor = cast.ask("bob", "5", "0.50")
    cast.ask("flo", "5", "0.51")
    cast.exchange.deposit("bob", -money("99"))
    ack = cast.bid("ann", "5", "0.51")

    order = cast.order("bob", poor)
    assert (order.status, order.reason, order.filled) == (OrderStatus.CANCELED, UpdateReason.MARGIN_CANCEL, 0)
    assert (ack.filled, ack.average_price) == (500, 5100)


def test_a_taker_whose_money_ends_on_the_way_is_canceled_there() -> None:
    # One fill of 0.10 would cost 0.05 + 0.0018; ten fills of 0.01 cost 0.005 + 0.0002 each, the tenth too much.
    cast = Cast(AUGUST_2026)
    cast.exchange.deposit("ann", -money("99.9482"))
    for _ in range(10):
        cast.ask("bob", "0.01", "0.50")
    ack = cast.bid("ann", "0.10", "0.50")

    order = cast.order("ann", ack)
    assert (order.filled, order.status, order.reason) == (9, OrderStatus.CANCELED, UpdateReason.MARGIN_CANCEL)
    assert cast.cash("ann") == "0.005"


# --- reduce-only


def test_reduce_only_is_capped_by_the_position(cast: Cast) -> None:
    cast.ask("bob", "5", "0.50")
    cast.bid("ann", "5", "0.50")
    cast.bid("flo", "20", "0.49")
    ack = cast.ask("ann", "20", "0.49", time_in_force=IOC, reduce_only=True)

    order = cast.order("ann", ack)
    assert (ack.filled, ack.remaining, cast.position("ann")) == (500, 0, "0")
    assert (order.status, order.reason) == (OrderStatus.CANCELED, UpdateReason.REDUCE_ONLY_CANCEL)


@pytest.mark.parametrize("is_bid", [True, False])
def test_reduce_only_with_nothing_to_reduce_is_accepted_and_canceled(cast: Cast, is_bid: bool) -> None:
    cast.bid("bob", "5", "0.49")
    cast.ask("bob", "5", "0.50")
    enter = cast.bid if is_bid else cast.ask
    ack = enter("ann", "5", "0.50" if is_bid else "0.49", time_in_force=IOC, reduce_only=True)

    assert (ack.filled, ack.remaining, cast.position("ann")) == (0, 0, "0")


def test_reduce_only_may_fill_or_kill_where_the_rules_say_so() -> None:
    cast = Cast(Rules(reduce_only_allows_fok=True))
    cast.ask("bob", "5", "0.50")
    cast.bid("ann", "5", "0.50")
    cast.bid("flo", "5", "0.49")

    assert cast.ask("ann", "9", "0.49", time_in_force=FOK, reduce_only=True).filled == 500


# --- batch, and where a market takes no orders


def test_a_batch_answers_each_order_for_itself(cast: Cast) -> None:
    good = NewOrder(M, True, 1000, 4800, client_order_id="a")
    bad = NewOrder(M, True, 1000, 4850, client_order_id="b")
    again = NewOrder(M, True, 1000, 4800, client_order_id="a")

    first, second, third = cast.exchange.create_orders("ann", [good, bad, again])

    assert not isinstance(first, Refusal) and first.remaining == 1000
    assert isinstance(second, Refusal) and second.code == "invalid_price"
    assert isinstance(third, Refusal) and third.code == "order_already_exists"


def test_a_replayed_market_takes_no_orders(cast: Cast) -> None:
    cast.list_market("TAPE", is_replay=True, status="active")

    assert refused(cast, ticker="TAPE") == (400, "MARKET_NOT_ACTIVE", None)


def test_the_message_of_a_refusal_is_its_code_in_words() -> None:
    assert Refusal(409, "order_already_exists").message == "order already exists"
