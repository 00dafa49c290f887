"""The book as it was around an order's fills, for the team whose order it is."""

from __future__ import annotations

import uuid

import msgspec
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.views.decorators.http import require_safe

from markets import lookback
from trading import booking, permissions
from trading.views.doors import DeskRequest, desk_call, fault

NO_FILL = "This order has no fill."


@require_safe
@desk_call
def order_lookback(request: DeskRequest, pk: uuid.UUID) -> HttpResponse:
    """Answer with the minutes that were kept around an order's fills as JSON; `from` is the first fill's time to tell.

    What does not fit one answer begins at the fill of `next`. Times in ms since 1970; 400 for one that is none, 503
    while too many look back.
    """
    try:
        order = permissions.get_order(request.user, pk)
        since = int(request.GET.get("from", "0"))
        times = [booking.traded_ms(at) for at in order.fills.values_list("traded_at", flat=True)]
        asked = [at for at in times if at >= since]
        found = lookback.kept(order.environment, order.ticker, times_ms=asked)
    except PermissionDenied as exc:
        return fault(str(exc), status=403)
    except ValueError:
        return fault("Say from when on, in milliseconds since 1970.", status=400)
    except lookback.TooMany:
        return fault("Many look back at this moment: try again in a few seconds.", status=503)
    answer = {"order": str(order.pk), **found, "missing": None if times else NO_FILL}
    return HttpResponse(msgspec.json.encode(answer), content_type="application/json")
