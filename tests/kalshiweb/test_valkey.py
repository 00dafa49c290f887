"""The embedded Valkey: only on its socket, and never two on one."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from kalshiweb import data_dir, valkey


@contextmanager
def server(socket_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    running = subprocess.Popen(valkey.command(socket_path), stdout=subprocess.DEVNULL)
    try:
        yield running
    finally:
        running.kill()
        running.wait()


def connect(socket_path: Path) -> redis.Redis:
    retry = redis.retry.Retry(redis.backoff.ConstantBackoff(0.01), 300)
    errors = [redis.ConnectionError, FileNotFoundError]
    return redis.Redis(unix_socket_path=str(socket_path), retry=retry, retry_on_error=errors)


@pytest.fixture
def socket_path(tmp_path: Path) -> Path:
    return data_dir.runtime_dir(tmp_path) / "valkey.sock"


def test_it_listens_on_its_private_socket_and_on_no_port(socket_path: Path) -> None:
    with server(socket_path), connect(socket_path) as client:
        assert client.ping()
        assert client.config_get("port") == {"port": "0"}
        assert socket_path.stat().st_mode & 0o077 == 0


def test_it_answers_only_while_it_runs(socket_path: Path) -> None:
    assert not valkey.answers(socket_path)
    with server(socket_path), connect(socket_path) as client:
        client.ping()
        assert valkey.answers(socket_path)
    assert not valkey.answers(socket_path)


def test_a_server_left_over_from_a_killed_desk_is_shut_down(socket_path: Path) -> None:
    with server(socket_path) as leftover, connect(socket_path) as client:
        client.ping()

        assert valkey.remove_leftover(socket_path)

        assert leftover.wait(timeout=5) == 0
        assert not socket_path.exists()


def test_a_socket_without_a_server_is_removed(socket_path: Path) -> None:
    with server(socket_path), connect(socket_path) as client:
        client.ping()
    assert socket_path.exists()

    assert not valkey.remove_leftover(socket_path)

    assert not socket_path.exists()


def test_a_machine_without_a_server_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "plan9")

    with pytest.raises(valkey.NoValkey, match="set REDIS_URL"):
        valkey.binary()
