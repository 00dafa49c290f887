"""The last minutes of one market's frames, packed small: a whole book a minute, and between them what changed.

A minute that has passed is one compressed piece of bytes, readable by itself; the current one is three columns of
integers. Prices are integers of $0.0001 on the YES scale, sizes integers of 0.01 contract, times ms since 1970.
"""

from __future__ import annotations

import zlib
from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from markets.book import Level

PIECE_MS = 60_000  # times within a piece fit 16 bits
PIECE_ROWS = 4_000  # after those of its book at the start: a piece begins anew for changes, however wide the book is
KEPT_MS = 15 * 60_000
MOST_BYTES = 150 * 1024  # of one market; a busier or wider one is kept for fewer minutes
ROW_BYTES = 12

Sides = tuple[dict[int, int], dict[int, int]]
Row = tuple[int, bool, int, int]  # time, is it a bid, price, size
Telling = tuple[int, str, str]  # since when, how far the book may be believed, and why


class Piece(msgspec.Struct, array_like=True):
    """A stretch of frames: the book at its start as rows, the rows of its changes, and its labels.

    Columns of one length: `after_ms` (16 bits) since the row before, `places` (16 bits) the price, negative for an ask,
    `sizes` (64 bits) absolute, 0 removes the level.
    """

    start: int
    end: int
    first: int  # so many rows are the book at the start
    told: list[Telling]
    after_ms: bytes
    places: bytes
    sizes: bytes

    def rows(self) -> Iterator[Row]:
        """Yield each row, those of the book at the start first."""
        at = self.start
        columns = (array("H", self.after_ms), array("h", self.places), array("Q", self.sizes))
        for after, place, size in zip(*columns, strict=True):
            at += after
            yield at, place > 0, abs(place), size


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Piece).decode


def seal(piece: Piece) -> bytes:
    """Return a piece as bytes."""
    return zlib.compress(_pack(piece), 6)


def unseal(sealed: bytes) -> Piece:
    """Return the piece of these bytes. Raises msgspec.MsgspecError or zlib.error for others."""
    return _unpack(zlib.decompress(sealed))


class Current:
    """The piece that is being written."""

    __slots__ = ("_after_ms", "_first", "_places", "_sizes", "at", "start", "told")

    def __init__(self, at: int, told: tuple[str, str], bids: Iterable[Level], asks: Iterable[Level]) -> None:
        self.start = self.at = at
        self.told: list[Telling] = [(at, *told)]
        self._after_ms, self._places, self._sizes = array("H"), array("h"), array("Q")
        for is_bid, levels in ((True, bids), (False, asks)):
            for price, size in levels:
                self.add(at, is_bid, price, size)
        self._first = len(self._sizes)

    def add(self, at: int, is_bid: bool, price: int, size: int) -> None:
        """Write down that a level has this size from now on."""
        self._after_ms.append(at - self.at)
        self.at = at
        self._places.append(price if is_bid else -price)
        self._sizes.append(size)

    def book(self) -> Sides:
        """Return both sides as they are now."""
        bids: dict[int, int] = {}
        asks: dict[int, int] = {}
        for place, size in zip(self._places, self._sizes, strict=True):
            side, price = (bids, place) if place > 0 else (asks, -place)
            side[price] = size
        return _without_nothing(bids), _without_nothing(asks)

    def piece(self, end: int) -> Piece:
        """Return it as it is now."""
        columns = (self._after_ms.tobytes(), self._places.tobytes(), self._sizes.tobytes())
        return Piece(self.start, end, self._first, self.told, *columns)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._sizes)

    @property
    def changes(self) -> int:
        """How many rows came after the book at the start."""
        return len(self._sizes) - self._first

    @property
    def most_bytes(self) -> int:
        """About how many bytes it may grow to."""
        return ROW_BYTES * (self._first + PIECE_ROWS)


class Reel:
    """One market's pieces, oldest first, within a bound of time and of bytes.

    The piece being written is always kept. From some five thousand levels on no other has room beside it, and above
    8,800 it alone may take more than the bound: 164 KiB at 9,999 levels, a whole dollar of the finest ticks.
    """

    __slots__ = ("_bytes", "_current", "_sealed")

    def __init__(self) -> None:
        self._sealed: deque[tuple[int, int, bytes]] = deque()
        self._current: Current | None = None
        self._bytes = 0

    @property
    def memory(self) -> int:
        """About how many bytes it takes."""
        return self._bytes + (ROW_BYTES * len(self._current) if self._current is not None else 0)

    def whole(self, at: int, told: tuple[str, str], bids: Iterable[Level], asks: Iterable[Level]) -> None:
        """Write down a whole book: only where it differs from what is written."""
        current = self._current
        if current is None:
            self._current = Current(at, told, bids, asks)
            self.forget(at)
            return
        for is_bid, before, after in zip((True, False), current.book(), (dict(bids), dict(asks)), strict=True):
            gone = [(price, 0) for price in before if price not in after]
            new = [(price, size) for price, size in after.items() if before.get(price) != size]
            self._write(at, is_bid, gone + new)
        self.label(at, told)

    def changes(self, at: int, bids: Iterable[Level], asks: Iterable[Level]) -> None:
        """Write down levels with their new absolute sizes."""
        self._write(at, True, bids)
        self._write(at, False, asks)

    def label(self, at: int, told: tuple[str, str]) -> None:
        """Write down how far the book may be believed from now on."""
        current = self._at(at)
        if current is not None and current.told[-1][1:] != told:
            current.told.append((max(at, current.at), *told))

    def end(self, at: int) -> None:
        """Nothing is known after this; another book may begin later."""
        if self._current is not None:
            self._seal(max(at, self._current.at))
            self._current = None

    def pieces(self, start: int, end: int, now: int) -> list[bytes]:
        """Return the pieces that touch a stretch of time, oldest first."""
        found = [sealed for began, ended, sealed in self._sealed if began <= end and ended >= start]
        current = self._current
        if current is not None and current.start <= end:
            found.append(seal(current.piece(max(now, current.at))))
        return found

    def forget(self, now: int) -> bool:
        """Forget what is too old or too much; say whether anything is left."""
        room = MOST_BYTES - (self._current.most_bytes if self._current is not None else 0)
        while self._sealed and (self._sealed[0][1] < now - KEPT_MS or self._bytes > room):
            self._bytes -= len(self._sealed.popleft()[2])
        return bool(self._sealed) or self._current is not None

    def _write(self, at: int, is_bid: bool, levels: Iterable[Level]) -> None:
        for price, size in levels:
            current = self._at(at)
            if current is None:
                return
            current.add(max(at, current.at), is_bid, price, size)

    def _at(self, at: int) -> Current | None:
        """Return the piece to write into: a new one where this one is long enough."""
        current = self._current
        if current is not None and (at - current.start >= PIECE_MS or current.changes >= PIECE_ROWS):
            start = max(at, current.at)
            self._seal(start)
            bids, asks = current.book()
            self._current = Current(start, current.told[-1][1:], bids.items(), asks.items())
            self.forget(at)
        return self._current

    def _seal(self, end: int) -> None:
        assert self._current is not None  # noqa: S101 - its callers have looked
        sealed = seal(self._current.piece(end))
        self._sealed.append((self._current.start, end, sealed))
        self._bytes += len(sealed)


def replay(sealed: Iterable[bytes], start: int, end: int) -> dict[str, Any]:
    """Return what these pieces tell of a stretch of time: the book at its start, and what came after until its end.

    `covered` lists the stretches of which anything is known; `book` is None where the start is in none of them. After a
    stretch of which nothing is known a frame holds the whole book.
    """
    longest_last = sorted(map(unseal, sealed), key=lambda piece: (piece.start, piece.end))
    pieces = list({piece.start: piece for piece in longest_last}.values())
    covered: list[list[int]] = []
    frames: list[dict[str, Any]] = []
    book: dict[str, Any] | None = None
    for piece in [piece for piece in pieces if piece.start <= end and piece.end >= start]:
        if piece.start <= start:
            book = _book_at(piece, start)
        elif not covered or covered[-1][1] < piece.start:
            frames.append(_book_at(piece, piece.start))
        _cover(covered, max(start, piece.start), min(end, piece.end))
        frames += _changes(piece, start, end)
    return {"from": start, "to": end, "covered": covered, "book": book, "frames": frames}


def _cover(covered: list[list[int]], start: int, end: int) -> None:
    if covered and covered[-1][1] >= start:
        covered[-1][1] = max(end, covered[-1][1])
    else:
        covered.append([start, end])


def _book_at(piece: Piece, at: int) -> dict[str, Any]:
    bids: dict[int, int] = {}
    asks: dict[int, int] = {}
    for row_at, is_bid, price, size in piece.rows():
        if row_at > at:
            break
        (bids if is_bid else asks)[price] = size
    state, why = next((said[1:] for said in reversed(piece.told) if said[0] <= at), piece.told[0][1:])
    return {
        "at": at,
        "state": state,
        "why": why,
        "bids": sorted(_without_nothing(bids).items(), reverse=True),
        "asks": sorted(_without_nothing(asks).items()),
    }


def _changes(piece: Piece, start: int, end: int) -> list[dict[str, Any]]:
    """Return a piece's changes of book and label within a stretch, those of one moment as one frame."""
    found: dict[int, dict[str, Any]] = {}
    for number, (at, is_bid, price, size) in enumerate(piece.rows()):
        if number >= piece.first and start < at <= end:
            frame = found.setdefault(at, {"at": at, "b": [], "a": []})
            frame["b" if is_bid else "a"].append((price, size))
    for at, state, why in piece.told[1:]:
        if start < at <= end:
            found.setdefault(at, {"at": at, "b": [], "a": []}).update(state=state, why=why)
    return [found[at] for at in sorted(found)]


def _without_nothing(side: dict[int, int]) -> dict[int, int]:
    return {price: size for price, size in side.items() if size}
