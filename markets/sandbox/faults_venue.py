"""What may go wrong with the whole exchange: lagging reads, changed accounts, a port that refuses, a clock that is off.

Such a fault acts when it is switched on and is undone when it is switched off.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from markets.sandbox.events import OrderChanged
from markets.sandbox.faults import Fault, UnknownFault, VenueFault
from markets.sandbox.intents import read_count
from markets.sandbox.limits import TIERS
from markets.sandbox.numbers import MONEY, parse_fixed
from markets.sandbox.orders import OrderStatus

if TYPE_CHECKING:
    from markets.sandbox.venue import Venue

Undo = Callable[[], None]
VENUES: dict[str, VenueFault] = {}


def _venue_fault(name: str) -> Callable[[VenueFault], VenueFault]:
    def register(function: VenueFault) -> VenueFault:
        VENUES[name] = function
        return function

    return register


def _nothing() -> None:
    return None


@_venue_fault("P26")
def lag_reads(venue: Venue, fault: Fault) -> Undo:
    """P26: reads of orders, fills and positions are `seconds` old; `flip_flop` makes every other one fresh."""
    venue.reads.lag_us = int(fault.params.get("seconds", 1.0) * 1_000_000)
    venue.reads.is_flip_flop = bool(fault.params.get("flip_flop", False))

    def undo() -> None:
        venue.reads.lag_us = 0

    return undo


@_venue_fault("P24-overfill")
def overfill(venue: Venue, fault: Fault) -> Undo:
    """P24-overfill: the order `order_id` is filled whole and by `count` more than it asked for."""
    venue.exchange.overfill(str(fault.params["order_id"]), read_count(str(fault.params["count"])))
    return _nothing


@_venue_fault("P24-bust")
def take_back(venue: Venue, fault: Fault) -> Undo:
    """P24-bust: the match `trade_id` is taken back from both sides, or adjusted to `left` of its count."""
    left = fault.params.get("left")
    venue.exchange.take_back(str(fault.params["trade_id"]), left=0 if left is None else read_count(str(left)))
    return _nothing


@_venue_fault("P28")
def block_the_way(venue: Venue, fault: Fault) -> Undo:
    """P28: `kind` refused (nobody may connect for `seconds`), or a door: self_signed, expired, wrong_host, stalled
    (TLS at a port of its own), blackhole (the exchange's port on IPv6), sound (nothing is wrong). A door's `port` and
    the `authority` that issued its certificate are told in the params. A name that does not resolve is the client's.
    """
    if venue.doors is None:
        raise UnknownFault("this exchange is not on the network")
    kind = str(fault.params.get("kind", "refused"))
    if kind == "refused":
        venue.doors.refuse(float(fault.params.get("seconds", 5.0)))
        return _nothing
    fault.params["port"], close = venue.doors.open(kind)
    fault.params["authority"] = venue.doors.authority.pem
    return close


@_venue_fault("P29")
def change_account(venue: Venue, fault: Fault) -> Undo:
    """P29: `member` gets `deposit` dollars (signed), loses `revoke_key`, or moves to `tier`."""
    member = venue.member_named(str(fault.params.get("member", "desk")))
    if member is None:
        raise UnknownFault("no such member")
    if "deposit" in fault.params:
        venue.exchange.deposit(member.member_id, parse_fixed(str(fault.params["deposit"]), 4) * (MONEY // 10_000))
    if "revoke_key" in fault.params:
        venue.signatures.remove(str(fault.params["revoke_key"]))
    if "tier" in fault.params:
        venue.allowance(member.member_id).change(TIERS[str(fault.params["tier"])])
    return _nothing


@_venue_fault("C1")
def offset_clock(venue: Venue, fault: Fault) -> Undo:
    """C1: the clock that judges signatures, and that the Date header shows, is `seconds` ahead."""
    venue.signature_offset_ms = int(fault.params.get("seconds", 0) * 1000)

    def undo() -> None:
        venue.signature_offset_ms = 0

    return undo


@_venue_fault("C2")
def change_rules(venue: Venue, fault: Fault) -> Undo:
    """C2: the exchange runs by other rules for what is not documented; `params` are fields of Rules."""
    before = venue.exchange.rules
    venue.exchange.rules = replace(before, **fault.params)

    def undo() -> None:
        venue.exchange.rules = before

    return undo


@_venue_fault("C3")
def forget_ids(venue: Venue, fault: Fault) -> Undo:
    """C3: client order ids are free again, with `scope` open_only those of finished orders, with none at once."""
    is_any = fault.params.get("scope", "open_only") == "none"

    def forget(event: OrderChanged) -> None:
        if is_any or event.order.status is not OrderStatus.RESTING:
            venue.exchange.members[event.member_id].client_order_ids.pop(event.order.client_order_id, None)

    venue.publisher.on_order.append(forget)

    def undo() -> None:
        venue.publisher.on_order.remove(forget)

    return undo
