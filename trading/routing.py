"""Where our side's sockets are."""

from __future__ import annotations

from django.urls import path

from trading.consumers import DeskConsumer

websocket_urlpatterns = [path("ws/desk/", DeskConsumer.as_asgi())]
