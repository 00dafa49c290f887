"""Certificates of an authority made on the spot: a sound one, and ones that a client must not accept.

They live in memory and with the exchange; nobody trusts the authority unless told to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "localhost"
OTHER_HOST = "another.invalid"
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Papers:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


@dataclass(slots=True)
class Authority:
    """Issues certificates; `pem` is what a client must trust to accept the sound one."""

    _key: ec.EllipticCurvePrivateKey = field(default_factory=_key)
    _own: x509.Certificate = field(init=False)

    def __post_init__(self) -> None:
        name, now = _named("the local exchange's authority"), datetime.now(UTC)
        builder = _builder(name, name, self._key.public_key(), now - DAY, now + DAY)
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(usage, critical=True)
        own = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        self._own = builder.add_extension(own, critical=False).sign(self._key, hashes.SHA256())

    @property
    def pem(self) -> str:
        """Return the authority's certificate."""
        return self._own.public_bytes(serialization.Encoding.PEM).decode()

    def sound(self) -> Papers:
        """Issue a certificate that is right in every way."""
        return self._issue(HOST)

    def expired(self) -> Papers:
        """Issue one whose time was over yesterday."""
        return self._issue(HOST, until=-DAY)

    def of_another_host(self) -> Papers:
        """Issue one for a host that this is not."""
        return self._issue(OTHER_HOST)

    def self_signed(self) -> Papers:
        """Make one that nobody but itself vouches for."""
        key = _key()
        return Papers(_for_host(_named(HOST), HOST, key, DAY).sign(key, hashes.SHA256()), key)

    def _issue(self, host: str, until: timedelta = DAY) -> Papers:
        key = _key()
        builder = _for_host(self._own.subject, host, key, until)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return Papers(builder.add_extension(issuer, critical=False).sign(self._key, hashes.SHA256()), key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, begin: datetime, end: datetime
) -> x509.CertificateBuilder:
    return x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number(), begin, end)


def _for_host(
    issuer: x509.Name, host: str, key: ec.EllipticCurvePrivateKey, until: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = _builder(_named(host), issuer, key.public_key(), now - 2 * DAY, now + until)
    return builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)


KINDS: dict[str, Callable[[Authority], Papers]] = {
    "sound": Authority.sound,
    "self_signed": Authority.self_signed,
    "expired": Authority.expired,
    "wrong_host": Authority.of_another_host,
}
