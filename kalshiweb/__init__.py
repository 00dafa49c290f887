"""The deployment: settings, entry points and processes. Nobody imports it."""

from __future__ import annotations

from kalshiweb.celery import app as celery_app

__all__ = ["celery_app"]
