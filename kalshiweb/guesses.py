"""Guessing at the door: allauth refuses it, and tells nobody of a wrong passkey or of whom it keeps out.

The forms here are allauth's own with one thing added: a refusal is written down before it is answered.
"""

from __future__ import annotations

from typing import Any

from allauth.core import context
from allauth.mfa.base.forms import AuthenticateForm, ReauthenticateForm
from allauth.mfa.models import Authenticator
from allauth.mfa.signals import authentication_failed
from allauth.mfa.webauthn.forms import AuthenticateWebAuthnForm, LoginWebAuthnForm, ReauthenticateWebAuthnForm
from allauth.mfa.webauthn.internal.auth import extract_user_from_response
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError

from trading import sessions

TOO_MANY = "too_many_login_attempts"
WRONG = "incorrect_code"


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

    user: User | None
    cleaned_data: dict[str, Any]

    def clean_credential(self) -> Authenticator:
        given = self.cleaned_data["credential"]
        try:
            return super().clean_credential()  # type: ignore[misc]
        except ValidationError as exc:
            user = self.user or _meant(given)
            if exc.code == TOO_MANY and user is not None:
                sessions.note_kept_out(context.request, user)
            elif user is not None:
                _tell_wrong(user)
            raise


class Code(_Codes, AuthenticateForm):  # type: ignore[misc]
    """The code after a password."""


class CodeAgain(_Codes, ReauthenticateForm):  # type: ignore[misc]
    """The code of somebody who is logged in."""


class Passkey(_Passkeys, AuthenticateWebAuthnForm):  # type: ignore[misc]
    """The passkey after a password."""


class PasskeyAgain(_Passkeys, ReauthenticateWebAuthnForm):  # type: ignore[misc]
    """The passkey of somebody who is logged in."""


class PasskeyAlone(_Passkeys, LoginWebAuthnForm):  # type: ignore[misc]
    """The passkey in place of a password; allauth lets an address try ten a minute."""


def _meant(given: Any) -> User | None:
    """Return the person whom a passkey names, who need not be the one who sent it."""
    try:
        user: User = extract_user_from_response(given)
    except (ValidationError, AttributeError):
        return None
    return user


def _tell_wrong(user: User) -> None:
    passkey = Authenticator.objects.filter(user=user, type=Authenticator.Type.WEBAUTHN).first()
    authentication_failed.send(
        sender=Authenticator,
        request=context.request,
        user=user,
        authenticator=passkey or Authenticator(user=user, type=Authenticator.Type.WEBAUTHN),
        reauthentication=context.request.user.is_authenticated,
    )
