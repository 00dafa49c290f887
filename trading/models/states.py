"""The states of an order and where each leads.

*Denied* is our refusal, *rejected* the exchange's; *unknown* means that nobody has told us yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType

from django.db import models


class OrderState(models.TextChoices):
    """Where an order stands."""

    DRAFT = "draft", "draft"
    AWAITING_APPROVAL = "awaiting_approval", "awaiting approval"
    QUEUED = "queued", "queued"
    SENDING = "sending", "sending"
    RESTING = "resting", "resting"
    UNKNOWN = "unknown", "unknown, checking"
    NEEDS_HUMAN = "needs_human", "unknown, needs a person"
    DENIED = "denied", "denied by the desk"
    LAPSED = "lapsed", "lapsed, never sent"
    REJECTED = "rejected", "rejected by the exchange"
    NOT_PLACED = "not_placed", "not placed"
    EXECUTED = "executed", "executed"
    CANCELED = "canceled", "canceled"


_S = OrderState
_FOUND = frozenset({_S.RESTING, _S.EXECUTED, _S.CANCELED})

LEADS_TO: Mapping[OrderState, frozenset[OrderState]] = MappingProxyType(
    {
        _S.DRAFT: frozenset({_S.DENIED, _S.AWAITING_APPROVAL, _S.QUEUED}),
        _S.AWAITING_APPROVAL: frozenset({_S.QUEUED, _S.DENIED, _S.LAPSED}),
        _S.QUEUED: frozenset({_S.SENDING, _S.LAPSED}),
        _S.SENDING: _FOUND | {_S.REJECTED, _S.UNKNOWN},
        _S.RESTING: frozenset({_S.EXECUTED, _S.CANCELED}),
        _S.UNKNOWN: _FOUND | {_S.NOT_PLACED, _S.NEEDS_HUMAN},
        _S.NEEDS_HUMAN: _FOUND | {_S.NOT_PLACED},
        **{
            state: frozenset() for state in (_S.DENIED, _S.LAPSED, _S.REJECTED, _S.NOT_PLACED, _S.EXECUTED, _S.CANCELED)
        },
    }
)

SEND_WITHIN = timedelta(seconds=5)  # of the moment it was asked for: what is queued for longer is never sent
TERMINAL = frozenset(state for state, after in LEADS_TO.items() if not after)
# Where contracts may be bought with it, as far as we know: what counts against limits.
AT_RISK = frozenset({_S.QUEUED, _S.SENDING, _S.RESTING, _S.UNKNOWN, _S.NEEDS_HUMAN})
# What the exchange may tell us about; the rest it has never seen.
ON_THE_WIRE = frozenset({_S.SENDING, _S.RESTING, _S.UNKNOWN, _S.NEEDS_HUMAN, _S.EXECUTED, _S.CANCELED})
