"""Records as JSON rows and back: the names of the columns once, then one list a record."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any, TypeVar

from markets.sandbox.accounts import Fill, Member, Position, Settlement, Transfer
from markets.sandbox.catalogue import Event, FeeType, Market, MarketStatus, Series
from markets.sandbox.orders import Group, Order, OrderStatus, SelfTrade, TimeInForce, UpdateReason
from markets.sandbox.statistics import Minute, Trade

Record = TypeVar("Record")
Rows = dict[str, Any]


def _keys(values: Iterable[str]) -> dict[str, None]:
    return dict.fromkeys(values)


def _bands(values: Iterable[Sequence[int]]) -> tuple[tuple[int, int, int], ...]:
    return tuple((start, end, step) for start, end, step in values)


# What JSON cannot tell apart: how a column becomes a value again.
_REBUILT: dict[type, dict[str, Callable[[Any], Any]]] = {
    Series: {"fee_type": FeeType, "tags": tuple},
    Event: {"fee_type_override": lambda value: None if value is None else FeeType(value)},
    Market: {"bands": _bands, "status": MarketStatus},
    Order: {
        "time_in_force": TimeInForce,
        "self_trade": SelfTrade,
        "status": OrderStatus,
        "reason": UpdateReason,
    },
    Group: {"window": lambda values: deque((ts_us, count) for ts_us, count in values), "order_ids": _keys},
    Member: {"order_ids": _keys, "resting_ids": _keys, "group_ids": _keys, "transfer_ids": set},
    **{kind: {} for kind in (Fill, Position, Settlement, Transfer, Minute, Trade)},
}
# What a member has that is kept in rows of its own.
LEFT_OUT: dict[type, tuple[str, ...]] = {Member: ("balances", "positions", "fills", "settlements", "transfers")}


def _plain(value: Any) -> Any:
    if isinstance(value, deque | set):
        return list(value)
    return value


def to_rows(kind: type, records: Iterable[object]) -> Rows:
    """Return records of one kind as columns and rows."""
    columns = [field.name for field in fields(kind) if field.name not in LEFT_OUT.get(kind, ())]
    read = attrgetter(*columns)
    keys = {"order_ids", "resting_ids", "group_ids"}.intersection(columns)
    rows = [[_plain(value) for value in read(record)] for record in records]
    for index in [columns.index(key) for key in keys]:
        for row in rows:
            row[index] = list(row[index])
    return {"columns": columns, "rows": rows}


def from_rows(kind: type[Record], saved: Rows) -> Iterator[Record]:
    """Yield the records again, in their order."""
    columns: list[str] = saved["columns"]
    rebuilt = [(columns.index(name), build) for name, build in _REBUILT[kind].items()]
    for row in saved["rows"]:
        values = list(row)
        for index, build in rebuilt:
            values[index] = build(values[index])
        yield kind(**dict(zip(columns, values, strict=True)))
