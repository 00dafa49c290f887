"""Requests that name something with a NUL are refused before anything looks for it: PostgreSQL has no such text."""

from __future__ import annotations

from urllib.parse import unquote

from django.core.exceptions import BadRequest
from django.http import HttpRequest
from django.utils.deprecation import MiddlewareMixin

NUL = "\x00"


class NoNul(MiddlewareMixin):
    """Middleware: looks at path, query and cookies. What a form holds is the business of its fields."""

    def process_request(self, request: HttpRequest) -> None:
        """Raise BadRequest."""
        named = (request.path_info, unquote(request.META.get("QUERY_STRING", "")), *request.COOKIES.values())
        if any(NUL in text for text in named):
            raise BadRequest("NUL in an address")
