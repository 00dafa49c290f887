"""Which faults there are on the way from an exchange to a page, and how thickly they come."""

from __future__ import annotations

from dataclasses import dataclass

UPSTREAM = ("lost", "repeated", "swapped", "late", "cut", "negative", "off grid", "sid ended", "reconnect", "stall")
LAYER = ("tick lost", "tick repeated", "ticks swapped", "ask lost")
RELAY = ("relay anew",)
ANEW = "counted anew"
WAYS = {"upstream": (*UPSTREAM, ANEW), "layer": LAYER, "relay": RELAY}
ALL = (*UPSTREAM, *LAYER, *RELAY)
RARE = {"stall": 3, "sid ended": 7, "relay anew": 7, "reconnect": 7}  # times in a storm; others ten times


@dataclass(frozen=True, slots=True)
class Weather:
    """How faults come: a storm throws them all at once, a shower brings one.

    For `healing_ms` after a fault nothing is asked of labels but that LIVE is true. A storm hits the healing too: what
    answers a question for a snapshot is lost as well, and questions are asked at growing distances.
    """

    every_ms: int
    healing_ms: int
    is_storm: bool
    kinds: tuple[str, ...] = ALL


STORMS = Weather(40_000, 15_000, is_storm=True)
SHOWERS = Weather(7_000, 4_000, is_storm=False)
# Without losses: a count that begins anew just where a message was lost, nobody can tell from one that goes on.
COUNTS_ANEW = Weather(300, 4_000, is_storm=False, kinds=(ANEW, "late", "repeated", ANEW, "swapped"))
