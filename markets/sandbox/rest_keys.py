"""REST: API keys of one member.

Source: Kalshi trade API v2, OpenAPI 3.34.0: the private half of a generated key is shown once and kept by nobody here.
"""

from __future__ import annotations

from typing import Any

from markets.sandbox import auth
from markets.sandbox.auth import ApiKey
from markets.sandbox.errors import forbidden
from markets.sandbox.intents import Body, invalid_parameters, read_body
from markets.sandbox.numbers import SECOND
from markets.sandbox.refusals import not_found
from markets.sandbox.routes import Call, Route
from markets.sandbox.web import Answer, answer, empty

# An account brings its own public key only from this usage level up.
OWN_KEY_TIERS = frozenset({"premier", "paragon", "prime", "prestige"})

# Where its owner lives was attested for a year; here the attestation is always fresh.
ATTESTED_DAYS = 365
DAY_SECONDS = 86_400


def listing(call: Call) -> Answer:
    """Return the member's keys; nothing tells when one was made or used."""
    call.unrestricted()
    attested_until = call.venue.now_us() // SECOND // DAY_SECONDS * DAY_SECONDS + ATTESTED_DAYS * DAY_SECONDS
    keys = [_body(key) for key in call.venue.signatures.of_member(call.member)]
    return answer({"api_key_region_expiration_ts": attested_until, "api_keys": keys})


def generate(call: Call) -> Answer:
    """Make a pair and return its private half."""
    call.unrestricted()
    body = read_body(call.request, "GenerateApiKeyRequest")
    name, scopes, subaccount = _wanted(body)
    key_type: auth.KeyType = "ed25519" if body.text("key_type") == "ed25519" else "rsa"
    if body.text("key_type") not in {"", "rsa", "ed25519"}:
        raise invalid_parameters("key_type is not valid")
    public_key, private_pem = auth.generate(key_type)
    key = auth.new_key(call.member, name, public_key=public_key, scopes=scopes, subaccount=subaccount)
    call.venue.signatures.add(key)
    return answer({"api_key_id": key.key_id, "key_type": key_type, "private_key": private_pem}, 201)


def create(call: Call) -> Answer:
    """Register the member's own public key, where its usage level allows that."""
    call.unrestricted()
    body = read_body(call.request, "CreateApiKeyRequest")
    name, scopes, subaccount = _wanted(body)
    if call.venue.allowance(call.member).tier.name not in OWN_KEY_TIERS:
        raise forbidden()
    try:
        public_key = auth.load_public(body.needed("public_key"))
    except auth.BadPublicKey as exc:
        raise invalid_parameters("public_key is not valid") from exc
    key = auth.new_key(call.member, name, public_key=public_key, scopes=scopes, subaccount=subaccount)
    call.venue.signatures.add(key)
    return answer({"api_key_id": key.key_id}, 201)


def delete(call: Call) -> Answer:
    """Forget one of the member's keys; what it signs from now on is refused."""
    call.unrestricted()
    key = call.venue.signatures.keys.get(call.path["api_key"])
    if key is None or key.member != call.member:
        raise not_found()
    call.venue.signatures.remove(key.key_id)
    return empty()


def _wanted(body: Body) -> tuple[str, tuple[str, ...], int | None]:
    name = body.needed("name")
    given: Any = body.values.get("scopes") or list(auth.DEFAULT_SCOPES)
    if not isinstance(given, list) or any(not isinstance(scope, str) or scope not in auth.SCOPES for scope in given):
        raise invalid_parameters("scopes are not valid")
    if "write" in given and "read" not in given:
        raise invalid_parameters("scope write requires scope read")
    return name, tuple(dict.fromkeys(given)), body.subaccount()


def _body(key: ApiKey) -> dict[str, Any]:
    found: dict[str, Any] = {"api_key_id": key.key_id, "name": key.name, "scopes": list(key.scopes)}
    if key.subaccount is not None:
        found["subaccount"] = key.subaccount
    return found


ROUTES = [
    Route("GET", "/api_keys", "GetApiKeys", listing, "read"),
    Route("POST", "/api_keys", "CreateApiKey", create, "write"),
    Route("POST", "/api_keys/generate", "GenerateApiKey", generate, "write"),
    Route("DELETE", "/api_keys/{api_key}", "DeleteApiKey", delete, "write"),
]
