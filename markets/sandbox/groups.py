"""Order groups: a limit on what may match in a rolling window of 15 seconds.

Source: Kalshi trade API v2, order groups. When the limit is hit every order of the group is canceled and new ones are
refused until the group is reset.
"""

from __future__ import annotations

from typing import Literal

from markets.sandbox.events import GroupChanged
from markets.sandbox.floor import Floor
from markets.sandbox.numbers import CONTRACT
from markets.sandbox.orders import Group, UpdateReason
from markets.sandbox.refusals import insufficient_shard_balance, invalid_parameters, not_found
from markets.sandbox.resting import cancel_resting

LARGEST = 1_000_000 * CONTRACT

Kind = Literal["created", "triggered", "reset", "deleted", "limit_updated"]


def create(floor: Floor, member_id: str, limit: int, *, subaccount: int, exchange_index: int) -> Group:
    """Open a group."""
    floor.begin()
    _check_limit(limit)
    member = floor.members[member_id]
    if (subaccount, exchange_index) not in member.balances:
        raise insufficient_shard_balance()
    group = Group(floor.new_id(), member_id, subaccount, exchange_index, limit)
    floor.groups[group.group_id] = group
    member.group_ids[group.group_id] = None
    _tell(floor, group, "created", limit)
    return group


def listing(floor: Floor, member_id: str, *, subaccount: int | None) -> list[Group]:
    """Return a member's groups, oldest first."""
    floor.begin()
    found = (floor.groups[group_id] for group_id in floor.members[member_id].group_ids)
    return [group for group in found if subaccount is None or group.subaccount == subaccount]


def get(floor: Floor, member_id: str, group_id: str) -> Group:
    """Return one group or raise the 404."""
    floor.begin()
    group = floor.groups.get(group_id)
    if group is None or group.member_id != member_id:
        raise not_found()
    return group


def set_limit(floor: Floor, member_id: str, group_id: str, limit: int) -> None:
    """Change the limit, which may trigger the group at once."""
    group = get(floor, member_id, group_id)
    _check_limit(limit)
    group.limit = limit
    _tell(floor, group, "limit_updated", limit)
    trigger_if_over(floor, group_id)


def trigger_by_member(floor: Floor, member_id: str, group_id: str) -> None:
    """Trigger a group because its member says so."""
    _trigger(floor, get(floor, member_id, group_id))


def reset(floor: Floor, member_id: str, group_id: str) -> None:
    """Forget what matched and take orders again."""
    group = get(floor, member_id, group_id)
    group.is_triggered = False
    group.matched = 0
    group.window.clear()
    _tell(floor, group, "reset", None)


def delete(floor: Floor, member_id: str, group_id: str) -> None:
    """Cancel a group's orders and forget it."""
    group = get(floor, member_id, group_id)
    _cancel_orders(floor, group)
    del floor.groups[group_id]
    del floor.members[member_id].group_ids[group_id]
    _tell(floor, group, "deleted", None)


def count_match(floor: Floor, group_id: str, count: int) -> None:
    """Add a match to a group's window."""
    group = floor.groups[group_id]
    group.window.append((floor.now, count))
    group.matched += count


def trigger_if_over(floor: Floor, group_id: str) -> bool:
    """Trigger a group whose window holds too much; say whether it did."""
    group = floor.groups[group_id]
    _age(floor, group)
    hit = group.matched >= group.limit if floor.rules.group_limit == "hit" else group.matched > group.limit
    if not hit or group.is_triggered:
        return False
    _trigger(floor, group)
    return True


def _age(floor: Floor, group: Group) -> None:
    while group.window and group.window[0][0] <= floor.now - floor.rules.group_window_us:
        group.matched -= group.window.popleft()[1]


def _trigger(floor: Floor, group: Group) -> None:
    group.is_triggered = True
    _cancel_orders(floor, group)
    _tell(floor, group, "triggered", None)


def _cancel_orders(floor: Floor, group: Group) -> None:
    for order_id in list(group.order_ids):
        order = floor.orders[order_id]
        book = floor.books[order.ticker]
        book.clock += 1  # it need not be the book of the operation that set this off
        cancel_resting(floor, book, order, UpdateReason.NONE)
        floor.note_quote(book)


def _check_limit(limit: int) -> None:
    if not CONTRACT <= limit <= LARGEST:
        raise invalid_parameters("contracts_limit must be between 1 and 1000000")


def _tell(floor: Floor, group: Group, kind: Kind, limit: int | None) -> None:
    floor.emit(GroupChanged(group.member_id, group.group_id, kind, limit, floor.now, group.subaccount))
