"""Error pages and error mails: what must not be read is left out of them whatever the settings say."""

from __future__ import annotations

from django.http import HttpRequest
from django.views.debug import SafeExceptionReporterFilter


class AlwaysSafe(SafeExceptionReporterFilter):
    """Django's own filter, which it switches off under DEBUG; a key pasted into a form is no less a key there."""

    def is_active(self, request: HttpRequest | None) -> bool:
        """Answer yes."""
        return True
