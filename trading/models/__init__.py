"""The desk's tables: people, accounts and keys, orders and fills, and the record of all that happened."""

from __future__ import annotations

from trading.models.accounts import Account, ApiKey, RiskLimit, TradingState
from trading.models.fills import BookedPosition, Fill
from trading.models.orders import ForbiddenAdvance, Order
from trading.models.people import DeskSession, Invitation, LogInLink, Membership, Team, initials
from trading.models.record import DESK_GROUP, AppendOnly, Archive, AuditEntry, DeskEvent
from trading.models.states import LEADS_TO, SEND_WITHIN, TERMINAL, OrderState
from trading.models.words import Word

__all__ = [
    "DESK_GROUP",
    "LEADS_TO",
    "SEND_WITHIN",
    "TERMINAL",
    "Account",
    "ApiKey",
    "AppendOnly",
    "Archive",
    "AuditEntry",
    "BookedPosition",
    "DeskEvent",
    "DeskSession",
    "Fill",
    "ForbiddenAdvance",
    "Invitation",
    "LogInLink",
    "Membership",
    "Order",
    "OrderState",
    "RiskLimit",
    "Team",
    "TradingState",
    "Word",
    "initials",
]
