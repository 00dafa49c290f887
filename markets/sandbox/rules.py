"""What the exchange does where its documents are silent or changed: settings with the documented default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from markets.sandbox.numbers import CENT, SECOND


@dataclass(frozen=True, slots=True)
class Rules:
    """Choices of one exchange; money in $0.000001, time in microseconds."""

    # The trade fee is rounded up to this first: 1 since October 2026, 100 ($0.0001) in every recorded fill before.
    trade_fee_step: int = 1
    # Rebates of rounding come in steps of this; None is the member's own balance precision (October 2026).
    rebate_step: int | None = None
    # Whether two sub-accounts of one member are "the same user" to self-trade prevention is not documented.
    self_trade_scope: Literal["member", "subaccount"] = "member"
    # The event specification allows IOC alone, a recorded refusal of another exchange names FOK too.
    reduce_only_allows_fok: bool = False
    # An amend that would cross although post-only: cancel with PostOnlyCrossCancel, or refuse with 400.
    post_only_amend: Literal["cancel", "refuse"] = "cancel"
    # `last_update_reason` of a member's own cancel: no reason of its own exists.
    cancel_reason: Literal["Decrease", ""] = "Decrease"
    # The document lists a cancel's client order id, the recorded answer has none.
    cancel_names_client_order_id: bool = False
    # An order group is triggered when its window holds this many contracts, or only when it holds more.
    group_limit: Literal["hit", "exceeded"] = "hit"
    group_window_us: int = 15 * SECOND
    # After the close: when resting orders are canceled and the empty snapshot is sent (0.16-5.3 s were measured).
    close_sweep_us: int = SECOND // 2
    # A cancel-all may catch orders of the following minute; 0 leaves that off.
    cancel_all_shadow_us: int = 0
    # An order id alone does not reveal the shard: without a ticker only shard 0 is searched.
    finds_orders_on_every_shard: bool = False
    flat_fee: int = 2 * CENT  # per contract of `flat` series; there were none in 2026
    trades_kept: int = 10_000  # the newest trades of each market, and as many of all together
    minutes_kept: int = 7 * 1440  # candles of one minute of each market

    # Whether a new order is held against the balance of its shard, or against what resting orders leave free of it.
    margin: Literal["balance", "free"] = "balance"
    # What a subscribe to a market that does not exist hears since "market not found" was retired: error 11 with its
    # name, nothing beside the acknowledgement, or the snapshot of an empty book.
    unknown_ticker: Literal["error", "ack", "empty"] = "error"
    # The NO side of a snapshot in YES prices: ascending like every other, or in the order of its NO prices.
    yes_price_order: Literal["ascending", "as_no_prices"] = "ascending"
    bad_count_code: str = "invalid_order_size"
    bad_expiry_code: str = "invalid_order"
    scope_code: str = "forbidden"
    unknown_group_code: str = "order_group_not_found"
    triggered_group_code: str = "exceeded_order_group_risk_limit"


AUGUST_2026 = Rules(trade_fee_step=100, rebate_step=CENT)
