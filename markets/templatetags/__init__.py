"""How prices, counts and times are written on a page."""

from __future__ import annotations
