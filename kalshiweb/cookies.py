"""The session's cookie, which is taken away at the log-out and by nothing else."""

from __future__ import annotations

from django.conf import settings
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponse


class Sessions(SessionMiddleware):
    """Django's own, but for answers to requests that came with a key of which there is no session.

    A session gets another key with each proof. What another tab of the browser asked for a moment before still names
    the old one; taking the cookie away in that answer would take the new one, and the person would be logged out.
    """

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        """Set or delete the cookie; one that names no session is left alone."""
        answer = super().process_response(request, response)
        session = getattr(request, "session", None)
        if session is not None and not session.modified and session.is_empty():
            answer.cookies.pop(settings.SESSION_COOKIE_NAME, None)
        return answer
