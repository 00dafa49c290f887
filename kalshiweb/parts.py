"""Which parts this installation's desk consists of, and how each is run."""

from __future__ import annotations

import argparse
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from kalshiweb import env, origins, valkey
from kalshiweb.processes import Part

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Desk:
    """One desk about to run: where it keeps what, and what it is asked to be."""

    data: Path
    runtime: Path
    environment: str
    bind: str
    port: int
    sandbox_port: int
    options: argparse.Namespace

    @property
    def has_sandbox(self) -> bool:
        """Say whether the local exchange is ours to run: not when the operator names another address."""
        return self.environment == "sandbox" and not env.text("KALSHI_REST_URL")

    @property
    def has_valkey(self) -> bool:
        """Say whether Valkey is ours to run."""
        return not env.secret("REDIS_URL")

    @property
    def valkey_socket(self) -> Path:
        """Where the embedded Valkey listens."""
        return self.runtime / "valkey.sock"

    @property
    def url(self) -> str:
        """Address for a person, as the settings let browsers in."""
        return origins.told_url(self.bind, self.port)


def build(desk: Desk) -> list[Part]:
    """Return the parts in the order of their start."""
    found: list[Part] = []
    if desk.has_valkey:
        found.append(_valkey(desk))
    found.append(_django("feed", desk, stage=2))
    if desk.has_sandbox:
        found.append(_sandbox(desk))
    found += [_django("web", desk, stage=3), _django("worker", desk, stage=2)]
    return found


def free_port(wanted: int = 0) -> int:
    """Return the wanted port of loopback if nobody listens on it now, else any other."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _valkey(desk: Desk) -> Part:
    return Part(
        "valkey",
        valkey.command(desk.valkey_socket),
        stage=0,
        before_start=lambda: valkey.remove_leftover(desk.valkey_socket),
    )


def _sandbox(desk: Desk) -> Part:
    folder = desk.data / "sandbox"
    options = desk.options
    command = [sys.executable, str(ROOT / "manage.py"), "run_sandbox", "--port", str(desk.sandbox_port)]
    command += ["--credentials", str(folder / "credentials"), "--state", str(folder / "state.sqlite3")]
    for tape in options.tape:
        command += ["--tape", str(Path(tape).resolve())]
    if options.speed is not None:
        command += ["--speed", str(options.speed)]
    if options.loop:
        command.append("--loop")
    if options.seed is not None:
        command += ["--seed", str(options.seed)]
    # Its own word counts, not that somebody listens on its port: that may be the exchange of another desk.
    announces = (b"The local exchange serves at", "exchange")
    return Part("sandbox", tuple(command), stage=1, env=_environment(desk), cwd=ROOT, announces=announces)


def _django(name: str, desk: Desk, *, stage: int) -> Part:
    return Part(name, (sys.executable, "-m", "kalshiweb.child", name), stage=stage, env=_environment(desk), cwd=ROOT)


def _environment(desk: Desk) -> dict[str, str]:
    found = {
        "DJANGO_SETTINGS_MODULE": "kalshiweb.settings",
        "KALSHIWEB_DATA_DIR": str(desk.data),
        "KALSHIWEB_EXCHANGE": desk.environment,
        "KALSHIWEB_BIND": desk.bind,
        "KALSHIWEB_PORT": str(desk.port),
    }
    if desk.has_sandbox:
        found["KALSHI_REST_URL"] = f"http://127.0.0.1:{desk.sandbox_port}/trade-api/v2"
        found["KALSHI_WS_URL"] = f"ws://127.0.0.1:{desk.sandbox_port}/trade-api/ws/v2"
    return found
