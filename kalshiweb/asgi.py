"""HTTP and WebSocket entry.

Django is set up before anything that imports models; the order of the imports below is that of the need.
"""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kalshiweb.settings")
http = get_asgi_application()

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import OriginValidator  # noqa: E402
from django.conf import settings  # noqa: E402

from markets.routing import websocket_urlpatterns as market_sockets  # noqa: E402
from trading.routing import websocket_urlpatterns as desk_sockets  # noqa: E402

# Exact origins with scheme and port: Channels' AllowedHostsOriginValidator would accept http:// and any port.
application = ProtocolTypeRouter(
    {
        "http": http,
        "websocket": OriginValidator(
            AuthMiddlewareStack(URLRouter([*market_sockets, *desk_sockets])),
            settings.WEB_ORIGINS,
        ),
    }
)
