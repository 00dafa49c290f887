"""The deployment: settings, entry points and processes. Nobody imports it."""

from __future__ import annotations
