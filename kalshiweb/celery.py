"""The Celery application; its schedule stands in the settings, its tasks beside the models they serve."""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kalshiweb.settings")

app = Celery("kalshiweb")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
