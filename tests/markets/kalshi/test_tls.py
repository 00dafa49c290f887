"""A certificate that nobody vouches for ends it before a byte of ours is sent."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from markets.kalshi import feed
from markets.kalshi.errors import Unavailable
from markets.kalshi.feed import FeedClient
from markets.kalshi.messages import CreateOrder
from markets.kalshi.rest import RestClient
from markets.kalshi.signing import Signer, pem_of
from tests.markets.kalshi.upstream import Told


class Impostor:
    """Listens with a certificate of its own making; keeps what it could read."""

    def __init__(self, listener: socket.socket, context: ssl.SSLContext) -> None:
        self.port: int = listener.getsockname()[1]
        self.heard = b""
        self._listener = listener
        self._context = context

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                plain, _ = self._listener.accept()
                with suppress(OSError), self._context.wrap_socket(plain, server_side=True) as sock:
                    self.heard += sock.recv(65_536)


@pytest.fixture
def impostor(tmp_path: Path, rsa_key: RSAPrivateKey) -> Iterator[Impostor]:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, rsa_key.public_key(), 1, now, now + datetime.timedelta(days=1))
    alternative = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    certificate = builder.add_extension(alternative, critical=False).sign(rsa_key, hashes.SHA256())
    (tmp_path / "cert.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (tmp_path / "key.pem").write_bytes(pem_of(rsa_key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    listener = socket.create_server(("127.0.0.1", 0))
    impostor = Impostor(listener, context)
    thread = threading.Thread(target=impostor.serve)
    thread.start()
    yield impostor
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def test_an_order_does_not_go_to_an_impostor(impostor: Impostor, signer: Signer) -> None:
    order = CreateOrder(ticker="A", side="bid", count=Decimal(1), price=Decimal("0.5"))
    with RestClient(f"https://localhost:{impostor.port}/trade-api/v2", signer=signer) as client:  # noqa: SIM117
        with pytest.raises(Unavailable, match="certificate"):
            client.create_order(order)
    assert impostor.heard == b""


def test_the_feed_does_not_dial_an_impostor(impostor: Impostor, signer: Signer) -> None:
    told = Told()
    client = FeedClient(f"wss://localhost:{impostor.port}/trade-api/ws/v2", signer=signer, on_event=told)
    client.start()
    gone = told.wait(feed.Disconnected)
    client.stop()
    assert gone.reason == "the exchange's certificate cannot be verified"
    assert impostor.heard == b""
