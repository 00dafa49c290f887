"""Settings of the test suite: the same, with everything outside the process replaced by its in-memory kin."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

_scratch = tempfile.mkdtemp(prefix="kalshiweb-tests-")
atexit.register(shutil.rmtree, _scratch, ignore_errors=True)
os.environ["KALSHIWEB_DATA_DIR"] = _scratch
os.environ.pop("REDIS_URL", None)

from kalshiweb.settings import *  # noqa: E402, F403
from kalshiweb.settings import DATABASES, MIDDLEWARE  # noqa: E402

CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
CELERY_TASK_ALWAYS_EAGER = True
CELERY_TASK_EAGER_PROPAGATES = True
CELERY_BROKER_URL = "memory://"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
MIDDLEWARE = [name for name in MIDDLEWARE if not name.startswith("servestatic.")]
DATABASES["default"]["CONN_MAX_AGE"] = 0
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A file, so that threads and the live server see one database; what it holds need not survive a power cut.
    DATABASES["default"]["TEST"] = {"NAME": f"{_scratch}/test.sqlite3"}
    DATABASES["default"]["OPTIONS"]["init_command"] = "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;"
LOGGING = {"version": 1, "disable_existing_loggers": False}
