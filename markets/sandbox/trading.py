"""What members can do: hold money, enter, change and cancel orders, guard them by groups."""

from __future__ import annotations

from collections.abc import Iterable

from markets.sandbox import amending, canceling, creating, desk, groups, reads
from markets.sandbox.accounts import BalanceView, Member, Transfer
from markets.sandbox.floor import Floor
from markets.sandbox.orders import AmendAck, Amendment, CancelAck, CreateAck, DecreaseAck, Group, NewOrder
from markets.sandbox.refusals import Refusal


class Trading:
    """The members' side of an exchange."""

    _floor: Floor

    def add_member(
        self, name: str, *, member_id: str | None = None, is_quiet: bool = False, balance_step: int = 100
    ) -> Member:
        """Open an account; without `member_id` it gets a UUID. It has no money yet."""
        return desk.add_member(self._floor, name, member_id=member_id, is_quiet=is_quiet, balance_step=balance_step)

    def deposit(self, member_id: str, amount: int, *, subaccount: int = 0, exchange_index: int = 0) -> None:
        """Add money (signed) from outside the exchange; the only thing beside trading that changes their sum."""
        desk.deposit(self._floor, member_id, amount, subaccount=subaccount, exchange_index=exchange_index)

    def create_subaccount(self, member_id: str) -> int:
        """Open the next sub-account and return its number. Refuses beyond 63."""
        return desk.create_subaccount(self._floor, member_id)

    def transfer(
        self,
        member_id: str,
        amount: int,
        *,
        from_subaccount: int = 0,
        to_subaccount: int = 0,
        from_index: int = 0,
        to_index: int = 0,
        client_transfer_id: str = "",
    ) -> Transfer:
        """Move a member's own money between sub-accounts or shards; a known client id is refused with 409."""
        return desk.transfer(
            self._floor,
            member_id,
            amount,
            source=(from_subaccount, from_index),
            target=(to_subaccount, to_index),
            client_transfer_id=client_transfer_id,
        )

    def balance(self, member_id: str, *, subaccount: int = 0, exchange_index: int | None = None) -> BalanceView:
        """Return cash and position value of one sub-account, of one shard or all."""
        return reads.balance(self._floor, member_id, subaccount=subaccount, exchange_index=exchange_index)

    def resting_value(self, member_id: str, *, subaccount: int | None = None) -> tuple[tuple[int, int], ...]:
        """Return what the resting orders would cost, by shard: (exchange_index, money)."""
        return reads.resting_value(self._floor, member_id, subaccount=subaccount)

    def create_order(self, member_id: str, new: NewOrder) -> CreateAck:
        """Enter an order: it matches, then rests or goes. Raises Refusal."""
        return creating.create(self._floor, member_id, new)

    def create_orders(self, member_id: str, news: Iterable[NewOrder]) -> list[CreateAck | Refusal]:
        """Enter orders one after the other; each answer stands for itself."""
        return creating.create_many(self._floor, member_id, news)

    def cancel_order(
        self, member_id: str, order_id: str, *, subaccount: int = 0, ticker: str = "", exchange_index: int | None = None
    ) -> CancelAck:
        """Cancel what still rests. Unknown and finished orders are the same Refusal: 404 not_found."""
        return canceling.cancel(
            self._floor, member_id, order_id, subaccount=subaccount, ticker=ticker, exchange_index=exchange_index
        )

    def cancel_all(self, member_id: str, *, subaccount: int | None = None) -> int:
        """Cancel every resting order (of one sub-account) on all shards; return how many. Skips closed markets."""
        return canceling.cancel_all(self._floor, member_id, subaccount=subaccount)

    def amend_order(self, member_id: str, order_id: str, amendment: Amendment, *, subaccount: int = 0) -> AmendAck:
        """Change price, total count, expiry or client order id; a better price may fill. Raises Refusal."""
        return amending.amend(self._floor, member_id, order_id, amendment, subaccount=subaccount)

    def decrease_order(
        self,
        member_id: str,
        order_id: str,
        *,
        reduce_by: int | None = None,
        reduce_to: int | None = None,
        subaccount: int = 0,
        ticker: str = "",
        exchange_index: int | None = None,
    ) -> DecreaseAck:
        """Make an order smaller by one of the two; it keeps its place. Nothing left is a cancel. Raises Refusal."""
        return amending.decrease(
            self._floor,
            member_id,
            order_id,
            reduce_by=reduce_by,
            reduce_to=reduce_to,
            subaccount=subaccount,
            ticker=ticker,
            exchange_index=exchange_index,
        )

    def create_group(self, member_id: str, limit: int, *, subaccount: int = 0, exchange_index: int = 0) -> Group:
        """Open a group that may match `limit` (0.01 contract) in 15 seconds."""
        return groups.create(self._floor, member_id, limit, subaccount=subaccount, exchange_index=exchange_index)

    def groups(self, member_id: str, *, subaccount: int | None = None) -> list[Group]:
        """Return a member's groups, oldest first; `group.order_ids` are its resting orders."""
        return groups.listing(self._floor, member_id, subaccount=subaccount)

    def group(self, member_id: str, group_id: str) -> Group:
        """Return one group, or raise the 404."""
        return groups.get(self._floor, member_id, group_id)

    def set_group_limit(self, member_id: str, group_id: str, limit: int) -> None:
        """Change the limit; what matched in the window may trigger the group at once."""
        groups.set_limit(self._floor, member_id, group_id, limit)

    def trigger_group(self, member_id: str, group_id: str) -> None:
        """Cancel the group's orders and take no new ones until it is reset."""
        groups.trigger_by_member(self._floor, member_id, group_id)

    def reset_group(self, member_id: str, group_id: str) -> None:
        """Forget what matched and take orders again."""
        groups.reset(self._floor, member_id, group_id)

    def delete_group(self, member_id: str, group_id: str) -> None:
        """Cancel the group's orders and forget it."""
        groups.delete(self._floor, member_id, group_id)
