"""The local exchange: the whole trade API on this machine, with play money and a clock one may hold."""

from __future__ import annotations
