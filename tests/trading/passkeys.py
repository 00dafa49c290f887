"""A passkey in software: registered at the desk as a browser would register it, and signing what it is asked to."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from allauth.mfa.models import Authenticator
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from django.contrib.auth.models import User
from fido2.cose import ES256
from fido2.utils import websafe_encode
from fido2.webauthn import Aaguid, AttestationObject, AttestedCredentialData, AuthenticatorData

HOST = "testserver"
USED_BY_ITS_OWNER = AuthenticatorData.FLAG.UP | AuthenticatorData.FLAG.UV


class Passkey:
    """One key pair under one id."""

    def __init__(self, credential_id: bytes = b"a passkey of a test") -> None:
        self.id = credential_id
        self._key = ec.generate_private_key(ec.SECP256R1())

    def belongs_to(self, user: User) -> Authenticator:
        """Write it into the desk's rows as registered."""
        row: Authenticator = Authenticator.objects.create(
            user=user,
            type=Authenticator.Type.WEBAUTHN,
            data={"name": "A passkey", "credential": self.registration("AAAA")},
        )
        return row

    def registration(self, challenge: str) -> dict[str, Any]:
        """Return what a browser sends of a new passkey for a challenge."""
        public = ES256.from_cryptography_key(self._key.public_key())  # type: ignore[no-untyped-call]
        data = AuthenticatorData.create(
            _rp_hash(),
            USED_BY_ITS_OWNER | AuthenticatorData.FLAG.AT,
            counter=0,
            credential_data=AttestedCredentialData.create(Aaguid.NONE, self.id, public),
        )
        response = {
            "clientDataJSON": websafe_encode(_client_data("webauthn.create", challenge)),
            "attestationObject": websafe_encode(AttestationObject.create("none", data, {})),
        }
        return self._named() | {"response": response, "clientExtensionResults": {"credProps": {"rk": True}}}

    def answer(self, challenge: str, *, whose: str = "") -> str:
        """Return what a browser sends for a challenge, with the user handle that the passkey remembers."""
        client_data = _client_data("webauthn.get", challenge)
        data = AuthenticatorData.create(_rp_hash(), USED_BY_ITS_OWNER, counter=1)
        signature = self._key.sign(bytes(data) + hashlib.sha256(client_data).digest(), ec.ECDSA(hashes.SHA256()))
        response = {
            "clientDataJSON": websafe_encode(client_data),
            "authenticatorData": websafe_encode(data),
            "signature": websafe_encode(signature),
            "userHandle": websafe_encode(whose.encode()),
        }
        return json.dumps(self._named() | {"response": response})

    def _named(self) -> dict[str, Any]:
        name = websafe_encode(self.id)
        return {"id": name, "rawId": name, "type": "public-key"}


def _rp_hash() -> bytes:
    return hashlib.sha256(HOST.encode()).digest()


def _client_data(kind: str, challenge: str) -> bytes:
    return json.dumps({"type": kind, "challenge": challenge, "origin": f"http://{HOST}"}).encode()
