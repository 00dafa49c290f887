"""Guessing at the door: allauth refuses it, and tells nobody of a wrong passkey or of whom it keeps out.

The forms here are allauth's own with one thing added: a refusal is written down before it is answered.
"""

from __future__ import annotations

import logging
from typing import Any

from allauth.core import context
from allauth.mfa.base.forms import AuthenticateForm, ReauthenticateForm
from allauth.mfa.models import Authenticator
from allauth.mfa.signals import authentication_failed
from allauth.mfa.webauthn.forms import AuthenticateWebAuthnForm, LoginWebAuthnForm, ReauthenticateWebAuthnForm
from allauth.mfa.webauthn.internal.auth import (
    extract_user_from_response,
    get_authenticator_by_credential_id,
    parse_authentication_response,
)
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError

from trading import sessions

logger = logging.getLogger(__name__)

TOO_MANY = "too_many_login_attempts"


class _Codes:
    """A code's form that tells the record whom it keeps out; a wrong code is told by allauth's own signal."""

    user: User

    def clean_code(self) -> str:
        try:
            code: str = super().clean_code()  # type: ignore[misc]
        except ValidationError as exc:
            if exc.code == TOO_MANY:
                sessions.note_kept_out(context.request, self.user)
            raise
        return code


class _Passkeys:
    """A passkey's form that tells the record what it refuses."""

    user: User
    cleaned_data: dict[str, Any]

    def clean_credential(self) -> Authenticator:
        try:
            return super().clean_credential()  # type: ignore[misc]
        except ValidationError as exc:
            if exc.code == TOO_MANY:
                sessions.note_kept_out(context.request, self.user)
            else:
                _tell_wrong(self.user)
            raise


class Code(_Codes, AuthenticateForm):  # type: ignore[misc]
    """The code after a password."""


class CodeAgain(_Codes, ReauthenticateForm):  # type: ignore[misc]
    """The code of somebody who is logged in."""


class Passkey(_Passkeys, AuthenticateWebAuthnForm):  # type: ignore[misc]
    """The passkey after a password."""


class PasskeyAgain(_Passkeys, ReauthenticateWebAuthnForm):  # type: ignore[misc]
    """The passkey of somebody who is logged in."""


class PasskeyAlone(LoginWebAuthnForm):  # type: ignore[misc]
    """The passkey in place of a password; allauth lets an address try ten a minute.

    Anybody may name anybody here. Only what names a person together with a passkey of theirs is in the record.
    """

    def clean_credential(self) -> Authenticator:
        """Return whose passkey it is, which only its own signature shows."""
        given = self.cleaned_data["credential"]
        try:
            return super().clean_credential()
        except ValidationError:
            _tell_wrong_alone(given)
            raise


def _tell_wrong_alone(given: Any) -> None:
    passkey = _named(given)
    if passkey is None:
        logger.info("a passkey was refused that is none of those of the person it names")
    elif sessions.is_first_in_a_while("wrong-passkey", context.request, passkey.user):
        _tell_wrong(passkey.user, passkey)


def _named(given: Any) -> Authenticator | None:
    """Return the passkey whose id was given, where it is one of the person's who was named with it."""
    try:
        credential_id = parse_authentication_response(given).raw_id
        user = extract_user_from_response(given)
    except (ValidationError, AttributeError):
        return None
    return get_authenticator_by_credential_id(user, credential_id)


def _tell_wrong(user: User, passkey: Authenticator | None = None) -> None:
    passkey = passkey or Authenticator.objects.filter(user=user, type=Authenticator.Type.WEBAUTHN).first()
    authentication_failed.send(
        sender=Authenticator,
        request=context.request,
        user=user,
        authenticator=passkey or Authenticator(user=user, type=Authenticator.Type.WEBAUTHN),
        reauthentication=context.request.user.is_authenticated,
    )
