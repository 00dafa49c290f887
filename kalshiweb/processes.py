"""The supervisor: starts the parts of a desk, keeps them alive, and takes them down in reverse.

It knows nothing of Django and imports nothing heavy: it is up before the first part has read its
modules. Parts tell each other what is true by *facts* ("migrated", "valkey"): a part reports one on its
control socket, the supervisor passes it on to all, and a part that needs it waits for it.
"""

from __future__ import annotations

import ctypes
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from kalshiweb.printing import Printer

CONTROL_FD = "KALSHIWEB_CONTROL_FD"
SETTLED_SECONDS = 20.0  # a part that lived this long starts its backoff anew
BACKOFF_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
STAGE_SECONDS = 3.0
STOP_SECONDS = 7.0
PR_SET_PDEATHSIG = 1


class StartFailed(Exception):
    """The desk cannot start; the text is for the operator."""


@dataclass(frozen=True, slots=True)
class Part:
    """One program of the desk. Parts of a higher `stage` stop first; equal ones stop together."""

    name: str
    command: tuple[str, ...]
    stage: int = 0
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    before_start: Callable[[], object] | None = None
    announces: tuple[bytes, str] | None = None  # what a part that knows no facts prints, and the fact that it tells


class Child:
    """A running part: its process, its lines and its control socket."""

    def __init__(self, part: Part, facts: Mapping[str, str]) -> None:
        self.part = part
        self.started_at = time.monotonic()
        if part.before_start is not None:
            part.before_start()
        self.control, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(  # noqa: S603  (our own programs, no shell)
                part.command,
                cwd=part.cwd,
                env={**os.environ, **part.env, "PYTHONUNBUFFERED": "1", CONTROL_FD: str(theirs.fileno())},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(theirs.fileno(),),
                process_group=0,
                preexec_fn=_die_with_parent(os.getpid()),
            )
        self.output: IO[bytes] = self.process.stdout  # type: ignore[assignment]
        os.set_blocking(self.output.fileno(), False)
        self.control.setblocking(False)
        self._half_fact = b""
        self._unannounced = b""
        for name, value in facts.items():
            self.tell(name, value)

    def tell(self, name: str, value: str) -> None:
        """Pass a fact on; a part that does not listen loses nothing it needs."""
        try:
            self.control.send(f"{name} {value}\n".encode())
        except OSError:
            return

    def heard(self) -> list[tuple[str, str]] | None:
        """Return the facts reported since the last call; None when the part closed its end."""
        try:
            chunk = self.control.recv(65536)
        except BlockingIOError:
            return []
        except OSError:
            return None
        if not chunk:
            return None
        self._half_fact += chunk
        *lines, self._half_fact = self._half_fact.split(b"\n")
        return [(name, value) for name, _, value in (line.decode().partition(" ") for line in lines)]

    def announced(self, chunk: bytes) -> str | None:
        """Return the fact that these words of the part tell, if they do."""
        if self.part.announces is None:
            return None
        words, fact = self.part.announces
        said = self._unannounced + chunk
        self._unannounced = said[-len(words) :]  # it may come in two halves
        return fact if words in said else None

    def signal(self, number: int) -> None:
        """Signal the part and whatever it started itself."""
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            return

    def close(self) -> None:
        """Let go of pipe and socket."""
        self.control.close()
        self.output.close()


class Supervisor:
    """Runs parts from one thread; use as a context manager, so that nothing outlives it."""

    def __init__(self, printer: Printer | None = None) -> None:
        self.printer = printer or Printer(sys.stdout)
        self.facts: dict[str, str] = {}
        self.is_stopping = False
        self.is_up = False  # once it is, a part that cannot work is said and tried again, and ends no other
        self.on_start: Callable[[], object] = lambda: None
        self.children: dict[str, Child] = {}
        self._parts: dict[str, Part] = {}
        self._due: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = socket.socketpair()
        self._old_handlers: dict[int, object] = {}

    def __enter__(self) -> Supervisor:
        """Take over the signals that end a desk and the one that tells of a dead child."""
        for end in (self._wake_read, self._wake_write):
            end.setblocking(False)
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)
        signal.set_wakeup_fd(self._wake_write.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue  # nohup: the desk is to outlive its terminal
            self._old_handlers[number] = signal.signal(number, self._ask_to_stop)
        self._old_handlers[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        return self

    def __exit__(self, *exc: object) -> None:
        """Stop every part and give the signals back."""
        self.stop()
        signal.set_wakeup_fd(-1)
        for number, handler in self._old_handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._selector.close()
        self._wake_read.close()
        self._wake_write.close()

    def start(self, part: Part) -> None:
        """Start a part; from now on it is started again whenever it ends."""
        self._parts[part.name] = part
        child = Child(part, self.facts)
        self.children[part.name] = child
        self._selector.register(child.output, selectors.EVENT_READ, child)
        self._selector.register(child.control, selectors.EVENT_READ, child)
        self.on_start()

    def learn(self, name: str, value: str = "") -> None:
        """Take a fact as true and tell every part once."""
        if name in self.facts:
            return
        self.facts[name] = value
        for child in self.children.values():
            child.tell(name, value)

    def run(self, until: Callable[[], bool], *, timeout_seconds: float | None = None) -> bool:
        """Serve the parts until the condition holds; say whether it did before the time or a signal ended it."""
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while not self.is_stopping:
            if until():
                return True
            if deadline is not None and time.monotonic() > deadline:
                return False
            self._turn(0.05 if deadline is not None else 0.25)
        return False

    def stop(self) -> None:
        """Stop the parts in reverse order of their stages, the stubborn ones by force, within STOP_SECONDS."""
        self.is_stopping = True
        self._due.clear()
        deadline = time.monotonic() + STOP_SECONDS
        for stage in sorted({child.part.stage for child in self.children.values()}, reverse=True):
            names = [name for name, child in self.children.items() if child.part.stage == stage]
            self._stop_stage(names, min(deadline, time.monotonic() + STAGE_SECONDS))

    def _stop_stage(self, names: list[str], deadline: float) -> None:
        for name in names:
            self.children[name].signal(signal.SIGTERM)
        while any(name in self.children for name in names) and time.monotonic() < deadline:
            self._turn(0.05)
        for name in [name for name in names if name in self.children]:
            self.printer.say(f"{name} did not stop in time and was ended.")
            self.children[name].signal(signal.SIGKILL)
            self.children[name].process.wait()
            self._bury(name)

    def _turn(self, wait_seconds: float) -> None:
        for key, _ in self._selector.select(wait_seconds):
            if key.data is None:
                _drain(self._wake_read)
            elif key.fileobj is key.data.output:
                self._read_output(key.data)
            else:
                self._read_control(key.data)
        for name, child in list(self.children.items()):
            if child.process.poll() is not None:
                self._bury(name)
        self._start_due()

    def _read_output(self, child: Child) -> None:
        chunk = child.output.read()
        if chunk:
            self.printer.lines(child.part.name, chunk)
            if fact := child.announced(chunk):
                self.learn(fact)
        elif chunk == b"":
            self._selector.unregister(child.output)

    def _read_control(self, child: Child) -> None:
        reported = child.heard()
        if reported is None:
            self._selector.unregister(child.control)
        for name, value in reported or []:
            if name == "failed":
                self._take_failure(child, value)
            else:
                self.learn(name, value)

    def _take_failure(self, child: Child, reason: str) -> None:
        if not self.is_up and not self.is_stopping:
            raise StartFailed(reason)
        self.printer.say(f"{child.part.name} cannot work: {reason}")

    def _bury(self, name: str) -> None:
        """Forget an ended part, the rest of its group included, and plan its return."""
        child = self.children.pop(name)
        child.signal(signal.SIGKILL)
        self._read_rest(child)
        if self.is_stopping:
            return
        lived = time.monotonic() - child.started_at
        failures = 0 if lived > SETTLED_SECONDS else self._failures.get(name, 0)
        pause = BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)]
        self._failures[name] = failures + 1
        self._due[name] = time.monotonic() + pause
        self.printer.say(f"{name} ended ({_ending(child.process.returncode)}) and starts again in {pause:g} s.")

    def _read_rest(self, child: Child) -> None:
        for stream in (child.output, child.control):
            if stream in {key.fileobj for key in self._selector.get_map().values()}:
                self._selector.unregister(stream)
        if rest := child.output.read():
            self.printer.lines(child.part.name, rest + b"\n")
        reported = child.heard() or []
        child.close()
        for reason in [value for name, value in reported if name == "failed"][:1]:
            self._take_failure(child, reason)

    def _start_due(self) -> None:
        now = time.monotonic()
        for name in [name for name, due in self._due.items() if due <= now]:
            del self._due[name]
            self.start(self._parts[name])
            self.printer.say(f"{name} runs again.")

    def _ask_to_stop(self, number: int, frame: object) -> None:
        if self.is_stopping:  # a second Ctrl-C: no more patience
            for child in self.children.values():
                child.signal(signal.SIGKILL)
        self.is_stopping = True


def _die_with_parent(parent: int) -> Callable[[], None] | None:
    """Return what a child does before it becomes its program: ask the kernel to end it with the supervisor.

    Linux only; elsewhere a killed supervisor leaves parts that the next start finds by its lock and sockets.
    The order comes from the thread that forks, so parts are started from the main thread alone.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died in between
            os._exit(1)

    return ask


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _drain(wake: socket.socket) -> None:
    try:
        while wake.recv(4096):
            pass
    except BlockingIOError:
        return
