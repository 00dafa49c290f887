"""Faults on demand: which requests, frames and connections go wrong, how, and how often.

A fault is posted as {"fault": "P3", "match": {…}, "params": {…}, "count": n}. Requests are matched by method, path
(shell wildcards), client_order_id; frames by channel, type, ticker, member. `nth` counts matches from 1, `probability`
with `seed` draws; every run with the same seed and the same requests goes wrong in the same way.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from markets.sandbox.web import Answer, Request

if TYPE_CHECKING:
    from markets.sandbox.sessions import Meddler, Session, Subscription
    from markets.sandbox.venue import Venue

MATCHES = frozenset(
    {"method", "path", "client_order_id", "nth", "probability", "seed", "channel", "type", "ticker", "member"}
)


class Gone(Exception):
    """The connection has been ended: there is nobody to answer."""


class UnknownFault(ValueError):
    """No fault has this name, or its match has a field that nothing looks at."""


@dataclass(slots=True)
class Fault:
    """One fault that is switched on; `left` None is for ever."""

    number: int
    name: str
    match: dict[str, Any]
    params: dict[str, Any]
    left: int | None = None
    seen: int = 0
    hits: int = 0
    kept: dict[str, Any] = field(default_factory=dict)  # what a fault remembers between two frames
    rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.match.get("seed", 0))

    def strikes(self, facts: dict[str, Any]) -> bool:
        """Say whether this fault strikes something with these facts, and count it."""
        if self.left == 0 or not all(self._agrees(name, facts) for name in facts):
            return False
        self.seen += 1
        if "nth" in self.match and self.seen != self.match["nth"]:
            return False
        if "probability" in self.match and self.rng.random() >= self.match["probability"]:
            return False
        self.hits += 1
        if self.left is not None:
            self.left -= 1
        return True

    def _agrees(self, name: str, facts: dict[str, Any]) -> bool:
        wanted = self.match.get(name)
        if wanted is None:
            return True
        found = facts[name]
        if isinstance(found, list):
            return wanted in found
        return found is not None and fnmatchcase(str(found), str(wanted))

    def describe(self) -> dict[str, Any]:
        """Return the fault as the operator sees it."""
        return {
            "id": self.number,
            "fault": self.name,
            "match": self.match,
            "params": self.params,
            "left": self.left,
            "seen": self.seen,
            "hits": self.hits,
        }


Proceed = Callable[[], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Struck:
    """A request that a fault has hit: what the fault may use."""

    request: Request
    wire: Any
    fault: Fault
    venue: Venue

    def param(self, name: str, default: Any) -> Any:
        """Return a parameter of the fault."""
        return self.fault.params.get(name, default)


RequestFault = Callable[[Struck, Proceed], Awaitable[Answer]]
FrameFault = Callable[["Venue", Fault, "Subscription | None", str, str], Iterable[str]]
VenueFault = Callable[["Venue", Fault], Callable[[], None]]


@dataclass(slots=True)
class Registry:
    """Every fault there is, by name and by what it strikes."""

    requests: dict[str, RequestFault] = field(default_factory=dict)
    frames: dict[str, FrameFault] = field(default_factory=dict)
    handshakes: dict[str, Callable[[Fault, Any], Answer]] = field(default_factory=dict)
    venues: dict[str, VenueFault] = field(default_factory=dict)

    def names(self) -> set[str]:
        """Return every name."""
        return {*self.requests, *self.frames, *self.handshakes, *self.venues}

    def sentences(self) -> dict[str, str]:
        """Return what each fault does, in its own words."""
        kinds: list[dict[str, Any]] = [self.requests, self.frames, self.handshakes, self.venues]
        return {name: str(fault.__doc__).strip() for kind in kinds for name, fault in sorted(kind.items())}


class Faults:
    """The faults of one venue that are switched on, in the order in which they were."""

    def __init__(self, venue: Venue, registry: Registry) -> None:
        self._venue = venue
        self._registry = registry
        self._count = 0
        self.active: list[Fault] = []
        self._undo: dict[int, Callable[[], None]] = {}

    def add(self, name: str, match: dict[str, Any], params: dict[str, Any], count: int | None) -> Fault:
        """Switch a fault on; raises UnknownFault."""
        if name not in self._registry.names():
            raise UnknownFault(f"no fault is called {name!r}; there are {', '.join(sorted(self._registry.names()))}")
        if set(match) - MATCHES:
            raise UnknownFault(f"nothing matches by {', '.join(sorted(set(match) - MATCHES))}")
        self._count += 1
        fault = Fault(self._count, name, match, params, count)
        if name in self._registry.venues:
            self._undo[fault.number] = self._registry.venues[name](self._venue, fault)
        self.active.append(fault)
        self._attach()
        return fault

    def known(self) -> dict[str, str]:
        """Return every fault there is, with what it does."""
        return self._registry.sentences()

    def remove(self, number: int | None = None) -> int:
        """Switch one fault off, or all; return how many."""
        gone = [fault for fault in self.active if number in {None, fault.number}]
        for fault in gone:
            self.active.remove(fault)
            self._undo.pop(fault.number, lambda: None)()
        self._attach()
        return len(gone)

    # --- requests ----------------------------------------------------------------------------------

    def for_request(self, request: Request, facts: dict[str, Any]) -> list[Fault]:
        """Return the faults that strike a request."""
        if not self.active:
            return []
        known = {"method": request.method, "path": request.path, **facts}
        return [fault for fault in self.active if fault.name in self._registry.requests and fault.strikes(known)]

    async def run(self, struck: list[Fault], request: Request, wire: Any, decide: Callable[[], Answer]) -> Answer:
        """Pass a request through its faults, the first outermost; raises Gone where nobody is left to answer."""

        async def innermost() -> Answer:
            return decide()

        proceed: Proceed = innermost
        for fault in reversed(struck):
            proceed = _wrapped(self._registry.requests[fault.name], Struck(request, wire, fault, self._venue), proceed)
        return await proceed()

    # --- connections -------------------------------------------------------------------------------

    def for_handshake(self, path: str, wire: Any) -> Answer | None:
        """Return what is answered instead of an upgrade; raises Gone where the connection just ends."""
        for fault in self.active:
            if fault.name in self._registry.handshakes and fault.strikes({"path": path}):
                return self._registry.handshakes[fault.name](fault, wire)
        return None

    def meddler(self) -> Meddler | None:
        """Return who changes frames, if anybody does."""
        return self if any(fault.name in self._registry.frames for fault in self.active) else None

    def frames(self, session: Session, subscription: Subscription | None, kind: str, text: str) -> Iterable[str]:
        """Return what goes out instead of one frame."""
        member = self._venue.exchange.members.get(session.member)
        facts = {
            "channel": None if subscription is None else subscription.channel,
            "type": kind,
            "ticker": _ticker_of(text),
            "member": None if member is None else member.name,
        }
        texts = [text]
        for fault in tuple(self.active):
            change = self._registry.frames.get(fault.name)
            if change is not None and fault.strikes(facts):
                texts = [new for old in texts for new in change(self._venue, fault, subscription, kind, old)]
        return texts

    def _attach(self) -> None:
        meddler = self.meddler()
        for session in self._venue.audience.sessions:
            session.meddler = meddler


def _wrapped(fault: RequestFault, struck: Struck, proceed: Proceed) -> Proceed:
    async def run() -> Answer:
        return await fault(struck, proceed)

    return run


def _ticker_of(text: str) -> str | None:
    for name in ('"market_ticker":"', '"ticker":"'):
        _, found, rest = text.partition(name)
        if found:
            return rest.partition('"')[0]
    return None
