"""What a start waits for: whether the desk answers as a browser would ask it, and until then what is missing."""

from __future__ import annotations

import http.client
import json
import time
from contextlib import closing
from dataclasses import dataclass, field

from kalshiweb import origins, valkey
from kalshiweb.parts import Desk
from kalshiweb.processes import Supervisor

ASK_SECONDS = 0.05
READY_PARTS = {"database": "the database", "migrations": "the tables", "layer": "Valkey"}


@dataclass
class Progress:
    """Asked again and again while the parts come up."""

    desk: Desk
    supervisor: Supervisor
    started_at: float = field(default_factory=time.monotonic)
    asked_at: float = 0.0
    answer: str = ""  # what the pages said last, beside "ready"

    @property
    def seconds(self) -> float:
        """How long the start has taken so far."""
        return time.monotonic() - self.started_at

    def is_ready(self) -> bool:
        """Learn what only looking tells, and say whether the desk answers."""
        now = time.monotonic()
        if now - self.asked_at < ASK_SECONDS:
            return False
        self.asked_at = now
        self._probe()
        if not {"migrated", "valkey", "owner"} <= self.supervisor.facts.keys():
            return False
        self.answer = self._ask()
        return not self.answer

    def waits_for(self) -> str:
        """Return which part is not ready yet, for the operator."""
        facts, desk = self.supervisor.facts, self.desk
        if "migrated" not in facts:
            return "the feed has not brought the database to this version"
        if "valkey" not in facts:
            return "valkey does not answer"
        if "exchange" not in facts:
            return f"the sandbox does not serve on port {desk.sandbox_port}"
        if "owner" not in facts:
            return "the feed has not listed the exchange's markets"
        return self.answer or "the web part does not answer"

    def _probe(self) -> None:
        facts, desk = self.supervisor.facts, self.desk
        if "valkey" not in facts and (not desk.has_valkey or valkey.answers(desk.valkey_socket)):
            self.supervisor.learn("valkey")
        if "exchange" not in facts and not desk.has_sandbox:
            self.supervisor.learn("exchange")

    def _ask(self) -> str:
        """Return what keeps the pages from being ready, nothing if they are."""
        desk = self.desk
        address = origins.EVERYWHERE.get(desk.bind, desk.bind)
        try:
            with closing(http.client.HTTPConnection(address, desk.port, timeout=1.0)) as web:
                web.request("GET", "/readyz", headers={"Host": origins.asked_host(desk.bind)})
                answer = web.getresponse()
                body = answer.read()
        except (OSError, http.client.HTTPException):
            return f"the web part does not answer on {address} port {desk.port}"
        return "" if answer.status == 200 else _reason(answer.status, body)


def _reason(status: int, body: bytes) -> str:
    """Put what /readyz told into words."""
    try:
        told = json.loads(body)
        found = [f"{words} ({told[name]})" for name, words in READY_PARTS.items() if told[name] not in {"ok", ""}]
    except (ValueError, TypeError, KeyError):
        return f"the web part answers {status} to /readyz"
    return f"the web part waits for {' and '.join(found)}"
