"""Their side: the exchange, what it lists, and its books."""

from __future__ import annotations
