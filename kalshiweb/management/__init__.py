"""Commands of the deployment."""

from __future__ import annotations
