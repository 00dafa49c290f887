"""Where the exchange side's sockets are."""

from __future__ import annotations

from django.urls import path

from markets.consumers import BookConsumer

websocket_urlpatterns = [path("ws/markets/", BookConsumer.as_asgi())]
