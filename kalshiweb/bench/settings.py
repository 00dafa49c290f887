"""Settings of the processes of a bench: the desk's own, in a scratch directory; without a store, layer and cache in
memory.
"""

from __future__ import annotations

from kalshiweb.settings import *  # noqa: F403
from kalshiweb.settings import IS_EMBEDDED_VALKEY

if IS_EMBEDDED_VALKEY:
    CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
