"""What people fill in: the order ticket, the filters of lists, a new key. Cents become dollars here."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from django import forms

from markets.kalshi.prices import from_price_units, plain, to_price_units
from markets.models import Market
from trading.models import Order
from trading.risk import BadTicket, Ticket, cents

DIRECTIONS = [(f"{action}-{side}", f"{action} {side}") for action in ("buy", "sell") for side in ("yes", "no")]
# A comma groups thousands and does nothing else: whoever means 2.5 by "2,5" must not get 25.
_NUMBER = re.compile(r"(?:\d{1,12}|\d{1,3}(?:,\d{3}){1,3})(?:\.\d{1,8})?|\.\d{1,8}", re.ASCII)
COMMA = "A comma only groups thousands, as in 1,000: write decimals with a point, as in 2.5."
ONE = Decimal(1)


class NumberField(forms.Field):
    """A plain decimal number, exactly as it was written; `1,000` and a trailing ¢ are read too."""

    widget = forms.TextInput

    def __init__(self, *, sentence: str) -> None:
        super().__init__(error_messages={"required": sentence, "invalid": sentence})

    def to_python(self, value: Any) -> Decimal | None:
        """Return a Decimal, None for nothing. Raises ValidationError with the field's one sentence."""
        text = str(value or "").strip().rstrip("¢").strip()
        if not text:
            return None
        if not _NUMBER.fullmatch(text):
            raise forms.ValidationError(COMMA if "," in text else self.error_messages["invalid"])
        return Decimal(text.replace(",", ""))


class TicketForm(forms.Form):
    """The order ticket of one market. `ticket` holds the order once the form is valid."""

    direction = forms.ChoiceField(choices=DIRECTIONS, error_messages={"invalid_choice": "Say buy or sell, YES or NO."})
    price = NumberField(sentence="A price is a number of cents, such as 57 or 57.5.")
    count = NumberField(sentence="A quantity is a number of contracts, such as 10 or 2.5.")
    time_in_force = forms.ChoiceField(
        choices=Order.TimeInForce.choices, initial=Order.TimeInForce.GOOD_TILL_CANCELED, required=False
    )
    post_only = forms.BooleanField(required=False)
    idempotency_key = forms.UUIDField(error_messages={"required": "This ticket has no key: load the page again."})

    ticket: Ticket

    def __init__(self, *args: Any, market: Market, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.market = market

    def clean(self) -> dict[str, Any]:
        """Put the fields together to an order on this market's grid."""
        values: dict[str, Any] = super().clean() or {}
        if self.errors:
            return values
        if not 0 < values["price"] < 100:
            self.add_error("price", f"{values['price']:f}¢ is not a price: it lies between 0¢ and 100¢.")
            return values
        action, _, side = values["direction"].partition("-")
        try:
            self.ticket = Ticket(
                ticker=self.market.ticker,
                action=action,
                side=side,
                price=values["price"].scaleb(-2),
                count=values["count"],
                time_in_force=values["time_in_force"] or Order.TimeInForce.GOOD_TILL_CANCELED,
                post_only=values["post_only"],
            )
        except BadTicket as exc:
            self.add_error("count" if exc.code.startswith("COUNT") else "price", exc.sentence)
            return values
        if not self.market.grid.contains(self.ticket.direction.wire_price):
            self.add_error("price", self._off_grid())
        return values

    @property
    def fault(self) -> tuple[str | None, str]:
        """The first thing that is wrong: its field and one sentence."""
        field, errors = next(iter(self.errors.items()))
        return (None if field == "__all__" else field), str(errors[0])

    def _off_grid(self) -> str:
        wanted, own = self.ticket.price, self._own_prices()
        near = [max((p for p in own if p < wanted), default=None), min((p for p in own if p > wanted), default=None)]
        said = " or ".join(cents(price) for price in near if price is not None)
        return f"{plain(wanted * 100)}¢ is not a price of this market; the nearest: {said}."

    def _own_prices(self) -> list[Decimal]:
        ticks = self.market.grid.ticks()
        if self.ticket.side == "yes":
            return [from_price_units(tick) for tick in ticks]
        return [from_price_units(to_price_units(ONE) - tick) for tick in ticks]


class KeyForm(forms.Form):
    """A key of the exchange: its id, and the private half as text or as a file, which is never shown again."""

    name = forms.CharField(max_length=80, label="Name", help_text="For your team, such as “alpha-trade”.")
    key_id = forms.CharField(max_length=100, label="Key id", help_text="The exchange shows it beside the key.")
    pem = forms.CharField(
        label="Private key",
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 6, "spellcheck": "false"}),
    )
    pem_file = forms.FileField(label="or its file (.pem, .key, .txt)", required=False, allow_empty_file=True)

    MOST_BYTES = 32_768

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.widget.attrs["autocomplete"] = "off"

    def clean(self) -> dict[str, Any]:
        """Take the private key from wherever it was given, once."""
        values: dict[str, Any] = super().clean() or {}
        given = values.get("pem_file")
        if given is not None and given.size > self.MOST_BYTES:
            self.add_error("pem_file", "That file is too large to be a private key.")
        elif given is not None:
            values["private_key"] = given.read()
        elif (values.get("pem") or "").strip():
            values["private_key"] = values["pem"]
        elif "pem" not in self.errors:
            self.add_error("pem", "Paste the private key, or choose its file.")
        return values
