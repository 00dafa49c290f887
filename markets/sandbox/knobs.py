"""Every fault there is: P for requests and accounts, S for frames, D for dials, C for clock and rules."""

from __future__ import annotations

from markets.sandbox.faults import Registry
from markets.sandbox.faults_rest import REQUESTS
from markets.sandbox.faults_stream import FRAMES, HANDSHAKES
from markets.sandbox.faults_venue import VENUES

KNOBS = Registry(requests=REQUESTS, frames=FRAMES, handshakes=HANDSHAKES, venues=VENUES)
