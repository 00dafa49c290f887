"""Log lines of every process: one event with its facts, and never a secret.

A last line of defence: code does not log headers or bodies in the first place.
"""

from __future__ import annotations

import logging
import re
from typing import Any

import structlog

_SECRET_NAMES = re.compile(r"signature|private|secret|password|cookie|authorization|token|pem\b|sealed|master", re.I)
_SECRET_TEXT = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|(?i:KALSHI-ACCESS-SIGNATURE)['\"]?\s*[:=]\s*['\"]?\S+"
    r"|(?<=/welcome/)[\w-]+|(?<=/join/)[\w-]+",
    re.S,
)
_MASK = "[hidden]"
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def mask(text: str) -> str:
    """Return `text` without private keys, signatures and the tokens of links."""
    return _SECRET_TEXT.sub(_MASK, text)


def hide_secrets(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Blank values under telling names, and key material inside any text."""
    for name, value in event.items():
        if _SECRET_NAMES.search(name):
            event[name] = _MASK
        elif isinstance(value, str):
            event[name] = mask(value)
    return event


class MaskingFormatter(structlog.stdlib.ProcessorFormatter):
    """Masks the finished line too, so that tracebacks and third-party messages are covered."""

    def format(self, record: logging.LogRecord) -> str:
        """Render the record and mask what must not be read."""
        return mask(super().format(record))


_SHARED: list[structlog.typing.Processor] = [
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    hide_secrets,
]


def _rendering(json: bool) -> list[structlog.typing.Processor]:
    if json:
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    return [
        structlog.dev.ConsoleRenderer(
            colors=False,
            pad_event_to=0,
            # Never the variant with local variables: they hold keys and cookies.
            exception_formatter=structlog.dev.plain_traceback,
        )
    ]


def logging_config(*, json: bool, level: str) -> dict[str, Any]:
    """Return Django's LOGGING: one handler to stderr, JSON lines or readable ones."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    formatter = {
        "()": "kalshiweb.logs.MaskingFormatter",
        "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(json)],
        "foreign_pre_chain": _SHARED,
    }
    quiet = {name: {"level": "WARNING"} for name in ("daphne", "celery", "kombu", "urllib3", "asyncio", "websocket")}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"lines": formatter},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "lines"}},
        "root": {"handlers": ["stderr"], "level": level.upper()},
        "loggers": {**quiet, "django.channels.server": {"level": "WARNING"}},
    }
