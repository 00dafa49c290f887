"""The supervisor, tried with tiny programs of our own."""

from __future__ import annotations

import io
import os
import re
import select
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kalshiweb import processes
from kalshiweb.printing import Printer
from kalshiweb.processes import Part, StartFailed, Supervisor

ROOT = Path(__file__).resolve().parent.parent.parent
TALK = """
import os, socket
control = socket.socket(fileno=int(os.environ["KALSHIWEB_CONTROL_FD"]))
facts = control.makefile("r")
def report(line): control.sendall((line + "\\n").encode())
def hear(): return facts.readline().strip()
"""


def part(name: str, code: str, *, stage: int = 0) -> Part:
    return Part(name, (sys.executable, "-S", "-c", TALK + textwrap.dedent(code)), stage=stage)


@pytest.fixture
def screen() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def supervisor(screen: io.StringIO) -> Iterator[Supervisor]:
    with Supervisor(Printer(screen)) as running:
        yield running


def ends(pid: int, *, seconds: float = 5.0) -> bool:
    """Wait until a process that is not our child has ended."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], seconds)[0])
    finally:
        os.close(handle)


def wait_for(supervisor: Supervisor, condition: Callable[[], bool]) -> None:
    assert supervisor.run(condition, timeout_seconds=10)


def test_a_fact_of_one_part_reaches_every_other(supervisor: Supervisor, screen: io.StringIO) -> None:
    supervisor.start(part("late", "print('heard', hear(), flush=True); hear()"))
    supervisor.start(part("early", "report('migrated yes'); hear(); hear()"))

    wait_for(supervisor, lambda: "heard migrated yes" in screen.getvalue())

    assert supervisor.facts == {"migrated": "yes"}


def test_a_part_that_starts_later_is_told_what_is_known(supervisor: Supervisor, screen: io.StringIO) -> None:
    supervisor.learn("valkey")
    supervisor.start(part("late", "print('heard', hear(), flush=True); hear()"))

    wait_for(supervisor, lambda: "heard valkey" in screen.getvalue())


def test_a_part_that_ends_is_started_again_and_said_in_one_line(supervisor: Supervisor, screen: io.StringIO) -> None:
    supervisor.start(part("web", "report(f'seen-{os.getpid()}'); os._exit(7)"))

    wait_for(supervisor, lambda: len(supervisor.facts) == 2)

    told = [line for line in screen.getvalue().splitlines() if "ended" in line]
    assert told[0] == "serve   | web ended (exit code 7) and starts again in 0.2 s."


def test_the_pause_before_a_restart_grows_while_a_part_keeps_failing(
    supervisor: Supervisor, screen: io.StringIO
) -> None:
    supervisor.start(part("web", "report(f'seen-{os.getpid()}'); os._exit(7)"))

    wait_for(supervisor, lambda: screen.getvalue().count("ended") == 3)

    assert re.findall(r"again in (\S+) s", screen.getvalue()) == ["0.2", "0.5", "1"]


def test_a_killed_part_is_named_with_its_signal(supervisor: Supervisor, screen: io.StringIO) -> None:
    supervisor.start(part("feed", "report('up'); hear(); hear()"))
    wait_for(supervisor, lambda: "up" in supervisor.facts)

    supervisor.children["feed"].signal(signal.SIGKILL)
    wait_for(supervisor, lambda: "ended" in screen.getvalue())

    assert "feed ended (signal SIGKILL)" in screen.getvalue()


def test_parts_stop_in_reverse_order_of_their_stages(supervisor: Supervisor, screen: io.StringIO) -> None:
    waits = """
    import signal, sys
    signal.signal(signal.SIGTERM, lambda *_: (print('goodbye', flush=True), sys.exit(0)))
    report('up-{name}')
    while True: signal.pause()
    """
    for stage, name in enumerate(["valkey", "sandbox", "web"]):
        supervisor.start(part(name, waits.replace("{name}", name), stage=stage))
    wait_for(supervisor, lambda: len(supervisor.facts) == 3)

    supervisor.stop()

    assert [line.split()[0] for line in screen.getvalue().splitlines()] == ["web", "sandbox", "valkey"]
    assert supervisor.children == {}


def test_a_part_that_ignores_the_request_is_ended_in_time(
    supervisor: Supervisor, screen: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "STAGE_SECONDS", 0.3)
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); report('up'); hear(); hear()"
    supervisor.start(part("worker", deaf + "\nwhile True: signal.pause()"))
    wait_for(supervisor, lambda: "up" in supervisor.facts)
    pid = supervisor.children["worker"].process.pid

    supervisor.stop()

    assert ends(pid)
    assert "worker did not stop in time" in screen.getvalue()


def test_what_a_part_started_itself_ends_with_it(supervisor: Supervisor) -> None:
    nest = """
    import subprocess, sys
    inner = subprocess.Popen([sys.executable, '-S', '-c', 'import signal; signal.pause()'])
    report(f'inner {inner.pid}')
    hear(); hear()
    """
    supervisor.start(part("worker", nest))
    wait_for(supervisor, lambda: "inner" in supervisor.facts)

    supervisor.stop()

    assert ends(int(supervisor.facts["inner"]))


def test_a_start_that_cannot_succeed_ends_the_desk_with_its_reason(supervisor: Supervisor) -> None:
    supervisor.start(part("feed", "report('failed the disk is full'); hear()"))

    with pytest.raises(StartFailed, match="the disk is full"):
        supervisor.run(lambda: False, timeout_seconds=10)


def test_a_reason_given_with_the_last_breath_is_heard(supervisor: Supervisor) -> None:
    supervisor.start(part("feed", "report('failed the disk is full'); os._exit(1)"))

    with pytest.raises(StartFailed, match="the disk is full"):
        supervisor.run(lambda: False, timeout_seconds=10)


@pytest.mark.parametrize("end", ["hear()", "os._exit(1)"])
def test_a_part_of_a_desk_that_is_up_and_cannot_work_ends_no_other(
    supervisor: Supervisor, screen: io.StringIO, end: str
) -> None:
    supervisor.start(part("web", "hear()"))
    supervisor.is_up = True

    supervisor.start(part("feed", f"report('failed the disk is full'); {end}"))

    wait_for(supervisor, lambda: "feed cannot work: the disk is full" in screen.getvalue())
    assert supervisor.children["web"].process.poll() is None


def test_sigterm_ends_the_run_and_not_the_caller(supervisor: Supervisor) -> None:
    supervisor.start(part("web", "report('up'); hear(); hear()"))
    wait_for(supervisor, lambda: "up" in supervisor.facts)

    os.kill(os.getpid(), signal.SIGTERM)

    assert not supervisor.run(lambda: False, timeout_seconds=10)
    assert supervisor.is_stopping


HANGS_UP = """
import io, os, signal, sys
from kalshiweb.printing import Printer
from kalshiweb.processes import Part, Supervisor
sleep = (sys.executable, "-S", "-c", "import signal; signal.pause()")
with Supervisor(Printer(io.StringIO())) as supervisor:
    supervisor.start(Part("web", sleep))
    print(supervisor.children["web"].process.pid, flush=True)
    supervisor.run(lambda: False)
    print("stopped", flush=True)
"""


def hung_up(*wrapper: str) -> subprocess.Popen[str]:
    """Run a supervisor of one part."""
    command = [*wrapper, sys.executable, "-c", HANGS_UP]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def test_a_terminal_that_hangs_up_stops_the_desk_cleanly() -> None:
    with hung_up() as running:
        assert running.stdout is not None
        pid = int(running.stdout.readline())

        running.send_signal(signal.SIGHUP)

        assert running.stdout.readline() == "stopped\n"
        assert running.wait(timeout=10) == 0
    assert ends(pid)


def test_under_nohup_a_terminal_that_hangs_up_changes_nothing() -> None:
    with hung_up("nohup") as running:
        assert running.stdout is not None
        pid = int(running.stdout.readline())

        running.send_signal(signal.SIGHUP)
        assert not ends(running.pid, seconds=0.5)
        assert not ends(pid, seconds=0)

        running.send_signal(signal.SIGTERM)
        assert running.stdout.readline() == "stopped\n"
        assert running.wait(timeout=10) == 0
    assert ends(pid)


def test_a_part_that_knows_no_facts_tells_one_by_its_words(supervisor: Supervisor, screen: io.StringIO) -> None:
    words = (
        sys.executable,
        "-S",
        "-c",
        "import os, signal; os.write(1, b'at your ser'); os.write(1, b'vice\\n'); signal.pause()",
    )
    supervisor.start(Part("sandbox", words, announces=(b"your service", "exchange")))
    supervisor.start(part("web", "print('heard', hear(), flush=True); hear(); hear()"))

    wait_for(supervisor, lambda: "heard exchange" in screen.getvalue())


def test_other_words_tell_no_fact(supervisor: Supervisor, screen: io.StringIO) -> None:
    words = (sys.executable, "-S", "-c", "print('the port is taken')")
    supervisor.start(Part("sandbox", words, announces=(b"your service", "exchange")))

    wait_for(supervisor, lambda: "is taken" in screen.getvalue())

    assert supervisor.facts == {}


def test_a_part_that_closes_its_control_socket_costs_no_processor(supervisor: Supervisor) -> None:
    supervisor.start(part("valkey", "report('up'); facts.close(); control.close(); import signal; signal.pause()"))
    wait_for(supervisor, lambda: "up" in supervisor.facts)

    before = time.process_time()
    supervisor.run(lambda: False, timeout_seconds=0.5)

    assert time.process_time() - before < 0.1


def test_long_output_arrives_whole_and_in_lines(supervisor: Supervisor, screen: io.StringIO) -> None:
    supervisor.start(part("web", "print('x' * 200_000); print('end', flush=True); hear(); hear()"))

    wait_for(supervisor, lambda: "end" in screen.getvalue())

    first, second = screen.getvalue().splitlines()
    assert first == "web     | " + "x" * 200_000
    assert second == "web     | end"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's death")
def test_a_killed_supervisor_leaves_no_part_behind() -> None:
    code = """
    import io, sys
    from kalshiweb.printing import Printer
    from kalshiweb.processes import Part, Supervisor
    sleep = (sys.executable, "-S", "-c", "import signal; signal.signal(15, signal.SIG_IGN); signal.pause()")
    with Supervisor(Printer(io.StringIO())) as supervisor:
        for name in ("valkey", "web"):
            supervisor.start(Part(name, sleep))
        print(*(child.process.pid for child in supervisor.children.values()), flush=True)
        supervisor.run(lambda: False)
    """
    running = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    with running:
        assert running.stdout is not None
        pids = [int(word) for word in running.stdout.readline().split()]

        running.kill()

    assert len(pids) == 2
    assert all(ends(pid) for pid in pids)


def test_lines_carry_the_name_of_their_part_and_advice_that_does_not_apply_is_dropped() -> None:
    screen = io.StringIO()
    printer = Printer(screen)

    printer.lines("valkey", b"1:M # WARNING Memory overcommit must be enabled! Without it\nre")
    printer.lines("valkey", b"ady\n")

    assert screen.getvalue() == "valkey  | ready\n"
