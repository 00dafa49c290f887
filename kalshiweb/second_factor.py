"""Second factors at rest: TOTP secrets and the seeds of recovery codes, sealed by the vault for whose they are.

allauth keeps them in a column of its own and asks this adapter to encrypt and decrypt. It does not say for whom; the
row does: what is sealed first belongs to nobody, saving the row binds it to the row's person and kind, and a text
that was read from a row opens for that person and kind alone. What does not open, and what stands in the clear, is
refused: there is no fallback.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models.signals import post_init, pre_save
from django.dispatch import receiver
from django.views.decorators.debug import sensitive_variables

from trading import audit, teams
from trading.models import Membership
from trading.ring import SEALED_TEXT, CannotOpen
from trading.vault import Binding, Sealed, open_sealed, rewrap, seal

PURPOSE = "second factor"
SECRETS = ("secret", "seed")  # in the data of a TOTP and of a set of recovery codes; a passkey's are public
NOBODY = Binding(PURPOSE, team="", row="", key_id="")
UNREADABLE = (
    "Your second factor cannot be read: what is stored was changed, or its master key is missing. "
    "Ask whoever runs this desk."
)


class FactorRefused(ValidationError, PermissionDenied):
    """A second factor cannot be read or kept: in a form its fault, on any other page a refusal that says why."""

    heading = "Your second factor cannot be used"

    def __str__(self) -> str:
        return str(self.message)


class Fresh(str):
    """A text that was sealed just now and has no row yet."""


class Stored(str):
    """A text of a row, which knows what it opens for."""

    binding: Binding

    @classmethod
    def of(cls, text: str, binding: Binding) -> Stored:
        """Return the text with its binding."""
        stored = cls(text)
        stored.binding = binding
        return stored


class SealedFactors(DefaultMFAAdapter):  # type: ignore[misc]
    """Lets allauth keep no secret that a reader of the database could use."""

    @sensitive_variables()
    def encrypt(self, text: str) -> str:
        """Return the text sealed for nobody yet; raise FactorRefused where the desk has no master key to use."""
        try:
            return Fresh(_sealed_text(text, NOBODY))
        except CannotOpen as exc:
            raise FactorRefused(f"The desk cannot keep second factors now. {exc}") from None

    @sensitive_variables()
    def decrypt(self, encrypted_text: str) -> str:
        """Return what was sealed for the person whose row it was read from; raise FactorRefused for anything else."""
        if not isinstance(encrypted_text, Stored):
            raise FactorRefused(UNREADABLE)
        try:
            return _open_text(encrypted_text, encrypted_text.binding)
        except CannotOpen:
            raise FactorRefused(UNREADABLE) from None


@receiver(post_init, sender=Authenticator)
def _name_the_owner(sender: Any, instance: Authenticator, **kwargs: Any) -> None:
    if not isinstance(instance.__dict__.get("data"), dict):  # not read, or not there
        return
    for field, text in _secrets(instance):
        if not isinstance(text, Fresh):
            instance.data[field] = Stored.of(text, _binding(instance))


@receiver(pre_save, sender=Authenticator)
@sensitive_variables()
def _bind_to_the_owner(sender: Any, instance: Authenticator, **kwargs: Any) -> None:
    """Let no row be saved whose secret is in the clear, or is sealed for somebody else."""
    binding = _binding(instance)
    for field, text in _secrets(instance):
        if isinstance(text, Fresh):
            instance.data[field] = Stored.of(_sealed_text(_open_text(text, NOBODY), binding), binding)
        elif not text.startswith(SEALED_TEXT):
            instance.data[field] = Stored.of(_sealed_text(text, binding), binding)
        elif not isinstance(text, Stored) or text.binding != binding:
            raise FactorRefused(UNREADABLE)


# --- all rows, for the start and for the master keys -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Factor:
    """One secret of one row, as it was read."""

    row: Authenticator
    field: str
    text: str

    @property
    def is_sealed(self) -> bool:
        """Say whether it is not in the clear."""
        return self.text.startswith(SEALED_TEXT)

    @property
    def kid(self) -> str:
        """Return the id of the master key that wraps it, or nothing where that cannot be read."""
        try:
            return _parsed(self.text).kid
        except CannotOpen:
            return ""

    def __str__(self) -> str:
        return f"{self.row.get_type_display()} of {self.row.user}"

    @sensitive_variables()
    def opens(self) -> bool:
        """Say whether it can be used."""
        try:
            _open_text(self.text, _binding(self.row))
        except CannotOpen:
            return False
        return True

    def seal(self) -> bool:
        """Seal what stands in the clear, unless it changed meanwhile; say whether it was."""
        return self._become(_sealed_text(self.text, _binding(self.row)), done="sealed by the desk")

    def rewrap(self) -> bool:
        """Wrap it by the newest master key, unless it changed meanwhile; say whether it was."""
        new = _written(rewrap(_parsed(self.text), _binding(self.row)))
        return self._become(new, done="wrapped with the newest master key")

    def _become(self, text: str, *, done: str) -> bool:
        """Swap the text in the row, which is read again: a recovery code may have been used up meanwhile."""
        with transaction.atomic():
            teams.lock_all_of(self.row.user, with_former=True)
            now = Authenticator.objects.select_for_update().filter(pk=self.row.pk).first()
            if now is None or now.data.get(self.field) != self.text:
                return False
            now.data[self.field] = Stored.of(text, _binding(now))
            now.save(update_fields=["data"])
            _record(now, done)
        return True


def factors() -> list[Factor]:
    """Return every secret of every person's second factors."""
    rows = Authenticator.objects.exclude(type=Authenticator.Type.WEBAUTHN).select_related("user").order_by("pk")
    return [Factor(row, field, text) for row in rows for field, text in _secrets(row)]


def kids() -> Counter[str]:
    """Return how many secrets each master key wraps."""
    return Counter(factor.kid for factor in factors() if factor.kid)


def seal_all() -> int:
    """Seal what older versions left in the clear, one short transaction each; safe to stop and repeat."""
    return sum(factor.seal() for factor in factors() if not factor.is_sealed)


def _record(row: Authenticator, done: str) -> None:
    """Write to the chain of each team the person belongs to."""
    facts = {"user": row.user.get_username(), "kind": row.type, "done": done}
    for membership in Membership.objects.select_related("team").filter(user=row.user).order_by("team_id"):
        audit.record("session.second_factor", None, team=membership.team, facts=facts)


# --- texts -----------------------------------------------------------------------------------------------------


def _secrets(row: Authenticator) -> Iterator[tuple[str, str]]:
    for field in SECRETS:
        text = row.data.get(field)
        if isinstance(text, str):
            yield field, text


def _binding(row: Authenticator) -> Binding:
    return Binding(PURPOSE, team="", row=str(row.user_id), key_id=row.type)


@sensitive_variables()
def _sealed_text(text: str, binding: Binding) -> str:
    return _written(seal(text.encode(), binding))


def _written(sealed: Sealed) -> str:
    parts = (base64.b64encode(part).decode() for part in (sealed.wrapped_key, sealed.ciphertext))
    return SEALED_TEXT + json.dumps([sealed.version, sealed.kid, *parts])


def _parsed(text: str) -> Sealed:
    """Read a sealed text; raise CannotOpen for anything that is none."""
    try:
        version, kid, *parts = json.loads(text.removeprefix(SEALED_TEXT))
        wrapped, ciphertext = (base64.b64decode(part, validate=True) for part in parts)
        return Sealed(int(version), str(kid), wrapped, ciphertext)
    except (ValueError, TypeError):
        raise CannotOpen from None


@sensitive_variables()
def _open_text(text: str, binding: Binding) -> str:
    return open_sealed(_parsed(text), binding).decode()
