"""Our side: people, keys, orders and the record of them."""

from __future__ import annotations
