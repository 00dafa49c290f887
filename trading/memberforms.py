"""What people fill in about each other: invitations, roles, leaving, limits, the team's settings."""

from __future__ import annotations

from dataclasses import asdict
from decimal import Decimal
from typing import Any

from django import forms

from trading.limits import SWITCHES, OwnLimits, TeamLimits, TeamSettings, team_settings
from trading.models import Membership, Team

MOST_MONEY = Decimal("999999999999.99")
MOST_ORDERS = 100_000


def _money(label: str, help_text: str, *, required: bool = False) -> forms.DecimalField:
    return forms.DecimalField(
        label=label,
        help_text=help_text,
        required=required,
        min_value=Decimal(0),
        max_value=MOST_MONEY,
        decimal_places=2,
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
    )


def _number(label: str, help_text: str, *, required: bool = False) -> forms.IntegerField:
    return forms.IntegerField(
        label=label,
        help_text=help_text,
        required=required,
        min_value=0,
        max_value=MOST_ORDERS,
        widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "off"}),
    )


class InvitationForm(forms.Form):
    """Whom to invite, and as what."""

    for_whom = forms.CharField(max_length=80, label="For", help_text="A name, so that your team knows who it was for.")
    role = forms.ChoiceField(choices=Membership.Role.choices, initial=Membership.Role.VIEWER, label="Role")


class JoinForm(forms.Form):
    """A new account of somebody who was invited."""

    username = forms.CharField(
        max_length=150, label="User name", help_text="Your team sees it; short lists show its first two letters."
    )
    password = forms.CharField(
        max_length=256, label="Password", strip=False, widget=forms.PasswordInput, help_text="12 characters or more."
    )
    again = forms.CharField(max_length=256, label="Password, again", strip=False, widget=forms.PasswordInput)

    def clean(self) -> dict[str, Any]:
        """Refuse two passwords that differ."""
        values: dict[str, Any] = super().clean() or {}
        if not self.errors and values["password"] != values["again"]:
            self.add_error("again", "The two passwords are not the same.")
        return values


class Seen(forms.Form):
    """A form that knows what the person saw, so that nobody overwrites a change they did not see."""

    what = "limits"
    seen = forms.CharField(widget=forms.HiddenInput, max_length=300, strip=False)

    def __init__(self, *args: Any, before: OwnLimits | TeamLimits | TeamSettings, **kwargs: Any) -> None:
        values = {name: _shown(value) for name, value in asdict(before).items()}
        self.mark = ";".join("-" if value is None else str(value) for value in asdict(before).values())
        super().__init__(*args, **kwargs)
        self.initial = {**values, "seen": self.mark}

    def clean_seen(self) -> str:
        """Refuse what was filled in beside other values; the form then shows those of now."""
        seen: str = self.cleaned_data["seen"]
        if seen != self.mark:
            self.data = {self.add_prefix(name): value for name, value in self.initial.items()}
            raise forms.ValidationError(f"Somebody else changed these {self.what} meanwhile: look at them again.")
        return seen


class OwnLimitsForm(Seen):
    """A member's own limits; an empty field means that only the team's holds."""

    max_order_cost = _money("Most one order may cost, $", "")
    max_working_cost = _money("Most all working orders may cost, $", "")
    max_orders_per_minute = _number("Orders a minute", "")

    def __init__(self, *args: Any, before: OwnLimits, **kwargs: Any) -> None:
        super().__init__(*args, before=before, **kwargs)
        for name in OwnLimits.__slots__:
            self.fields[name].widget.attrs["placeholder"] = "no own limit"

    @property
    def limits(self) -> OwnLimits:
        """What was filled in."""
        return OwnLimits(**{name: self.cleaned_data[name] for name in OwnLimits.__slots__})


class TeamLimitsForm(Seen):
    """A team's limits; zero allows nothing."""

    max_order_cost = _money("Most one order may cost, $", "", required=True)
    max_exposure = _money("Most at risk in all, $", "Positions and working orders together.", required=True)
    max_position = _money("Most contracts of one market", "Held and ordered.", required=True)
    max_orders_per_minute = _number("Orders a minute", "Of the whole team.", required=True)
    price_collar = forms.DecimalField(
        label="Furthest past the book, ¢",
        help_text="An order that would reach further is denied.",
        min_value=Decimal(0),
        max_value=Decimal(100),
        decimal_places=2,
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
    )

    def __init__(self, *args: Any, before: TeamLimits, **kwargs: Any) -> None:
        super().__init__(*args, before=before, **kwargs)
        self.initial["price_collar"] = _shown(before.price_collar * 100)

    @property
    def limits(self) -> TeamLimits:
        """What was filled in; the collar in dollars."""
        values = {name: self.cleaned_data[name] for name in TeamLimits.__slots__}
        return TeamLimits(**{**values, "price_collar": values["price_collar"] / 100})


class SettingsForm(Seen):
    """The team's name and what its owners have switched on."""

    what = "settings"

    name = forms.CharField(max_length=80, label="Name of the team")
    owners_trade = forms.BooleanField(required=False, label=str(Team._meta.get_field("owners_trade").verbose_name))
    traders_cancel_any = forms.BooleanField(
        required=False, label=str(Team._meta.get_field("traders_cancel_any").verbose_name)
    )
    viewers_see_positions = forms.BooleanField(
        required=False, label=str(Team._meta.get_field("viewers_see_positions").verbose_name)
    )

    def __init__(self, *args: Any, team: Team, **kwargs: Any) -> None:
        super().__init__(*args, before=team_settings(team), **kwargs)

    @property
    def switches(self) -> dict[str, bool]:
        """What was filled in, without the name."""
        return {name: self.cleaned_data[name] for name in SWITCHES}


def _shown(value: Decimal | int | str | None) -> str | bool:
    if value is None:
        return ""
    if isinstance(value, bool | str):
        return value
    text = f"{value:f}" if isinstance(value, Decimal) else str(value)
    return text.rstrip("0").rstrip(".") if "." in text else text
