"""Teams, who belongs to them in which role, and the links by which a first person gets in."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.conf import settings
from django.db import models


def initials(name: str) -> str:
    """Return the two letters a person is shown by: `alice` → AL, `Bo Ek` → BE."""
    words = name.replace(".", " ").replace("_", " ").replace("-", " ").split()
    letters = words[0][:2] if len(words) == 1 else "".join(word[0] for word in words[:2])
    return letters.upper()


class Team(models.Model):
    """Some people who trade together; nobody outside sees anything of it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=80)
    slug = models.SlugField(max_length=80, unique=True)
    number = models.BigIntegerField(
        default=0, help_text="Of the last desk event; counts up in the change's transaction."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    owners_trade = models.BooleanField("Owners may place orders", default=True)
    traders_cancel_any = models.BooleanField("Traders may cancel anybody’s order", default=True)
    viewers_see_positions = models.BooleanField("Viewers see positions and exposure", default=True)

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """One person's role in one team; what a role may do is in `trading.permissions`."""

    class Role(models.TextChoices):
        """From the one who answers for the team to the one who only checks."""

        OWNER = "owner", "Owner"
        ADMIN = "admin", "Admin"
        TRADER = "trader", "Trader"
        VIEWER = "viewer", "Viewer"
        AUDITOR = "auditor", "Auditor"

    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)
    left_at = models.DateTimeField(null=True, help_text="Removed then; a pause leaves this empty.")
    handed_to = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        help_text="Who looks after the orders of somebody who is away.",
    )
    # A person's own limits stand beside the team's; where there is none, only the team's holds.
    max_order_cost = models.DecimalField(max_digits=14, decimal_places=2, null=True, help_text="Of one order, $.")
    max_working_cost = models.DecimalField(
        max_digits=14, decimal_places=2, null=True, help_text="Of all working orders of the person together, $."
    )
    max_orders_per_minute = models.PositiveIntegerField(null=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["team", "user"], name="membership_team_user")]

    def __str__(self) -> str:
        return f"{self.user} in {self.team}: {self.role}"


class Invitation(models.Model):
    """A link by which one person joins a team once, in the role it names; only the hash of its token is kept."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    token_hash = models.CharField(max_length=64, unique=True)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="invitations")
    role = models.CharField(max_length=10, choices=Membership.Role)
    for_whom = models.CharField(max_length=80, help_text="As the inviting person wrote it.")
    invited_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)
    used_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    withdrawn_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.for_whom} as {self.role} into {self.team}"


class DeskSession(models.Model):
    """Where a log-in came from and when it was last used; the session itself is Django's."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    session_key = models.CharField(max_length=40, unique=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="desk_sessions")
    address = models.CharField(max_length=45, default="", blank=True)
    agent = models.CharField(max_length=200, default="", blank=True)
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.user} since {self.started_at:%Y-%m-%d %H:%M}"


class LogInLink(models.Model):
    """A link that logs one person in once; only the hash of its token is kept."""

    token_hash = models.CharField(max_length=64, unique=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"link for {self.user}, until {self.expires_at:%Y-%m-%d %H:%M}"
