"""Accounts as the back office sees them: opening them, money in, money between a member's own pockets."""

from __future__ import annotations

from markets.sandbox.accounts import Member, Transfer
from markets.sandbox.floor import SHARDS, Floor
from markets.sandbox.refusals import insufficient_balance, invalid_parameters, transfer_already_applied

MOST_SUBACCOUNTS = 64  # the primary one and 1 … 63

Pocket = tuple[int, int]  # (subaccount, exchange_index)


def add_member(floor: Floor, name: str, *, member_id: str | None, is_quiet: bool, balance_step: int) -> Member:
    """Open an account without money."""
    member = Member(member_id or floor.new_id(), name, is_quiet, balance_step)
    if member.member_id in floor.members:
        raise ValueError("that member exists")
    floor.members[member.member_id] = member
    return member


def deposit(floor: Floor, member_id: str, amount: int, *, subaccount: int, exchange_index: int) -> None:
    """Add money from outside."""
    balances = floor.members[member_id].balances
    balances[subaccount, exchange_index] = balances.get((subaccount, exchange_index), 0) + amount


def create_subaccount(floor: Floor, member_id: str) -> int:
    """Open the next sub-account."""
    floor.begin()
    member = floor.members[member_id]
    if member.subaccounts >= MOST_SUBACCOUNTS:
        raise invalid_parameters("no further sub-account")
    member.subaccounts += 1
    return member.subaccounts - 1


def _exists(member: Member, pocket: Pocket) -> bool:
    subaccount, exchange_index = pocket
    return 0 <= subaccount < member.subaccounts and exchange_index in SHARDS


def transfer(
    floor: Floor, member_id: str, amount: int, *, source: Pocket, target: Pocket, client_transfer_id: str
) -> Transfer:
    """Move a member's own money; the sum stays."""
    now = floor.begin()
    member = floor.members[member_id]
    if client_transfer_id in member.transfer_ids:
        raise transfer_already_applied()
    if amount <= 0 or source == target or not all(_exists(member, pocket) for pocket in (source, target)):
        raise invalid_parameters()
    if member.balances.get(source, 0) < amount:
        raise insufficient_balance()
    member.balances[source] -= amount
    member.balances[target] = member.balances.get(target, 0) + amount
    moved = Transfer(floor.new_id(), client_transfer_id, amount, source[0], target[0], source[1], target[1], now)
    if client_transfer_id:
        member.transfer_ids.add(client_transfer_id)
    member.transfers.append(moved)
    return moved
