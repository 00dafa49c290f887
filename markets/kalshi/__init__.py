"""The client of Kalshi's trade API v2: prices, messages, signatures, REST and the feed; no Django in here."""

from __future__ import annotations
