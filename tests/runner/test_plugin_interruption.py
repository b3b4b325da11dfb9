"""Python code of a plug-in that does not end is interrupted by a stop and by the time-out, in real runs."""

import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.base import locks
from runner.base.mirror_paths import Paths
from runner.base.state_dir import StateLayout
from runner.journal import journal
from runner.overrides import operator_commands
from runner.overrides.operator_commands import OperatorCommand
from runner.plan import plan
from runner.plan.plan import Header, Planned
from schemas.plugins import HOOK, PROVIDER, Plugin
from schemas.records import Mirror
from schemas.report import MirrorStatus, Run
from tests.e2e.parts import REPOSITORY, alive, wait_until

HEAD = """
import os, pathlib, signal, socket, subprocess, sys, threading, time
from runner.plugin_api import *

def mark(job, text):
    with open(pathlib.Path(job.log_dir) / "marks", "a") as file:
        file.write(text + "\\n")

"""

PROGRAM = """
import sys
from runner.run import plugin_interruption as limits
limits.ASKED, limits.EVERY, limits.AGAIN, limits.LAST = {asked}, 0.3, 0.3, {last}
from runner.subprocesses import launch
launch.want_tick = lambda *_words, **_named: None
from runner.tick import entry
sys.exit(entry.main(["run", sys.argv[1], "m"]))
"""


class Site:
    """A mirror whose provider `p` and hooks are plug-ins of these sources; its runs have shorter grace periods."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.layout = folder, StateLayout(str(folder / "state"))
        self.logs, self.packages = folder / "log", folder / "packages"
        for each in (folder / "state", folder / "srv/m", folder / "srv/m/file", self.logs, self.packages):
            each.mkdir(parents=True)
        self.plugins: list[Plugin] = []
        self.run_process: subprocess.Popen[str] | None = None
        self.mirror = Mirror("m", "w1", "p", "https://x.example/", retry=1, measure_size=False)

    def add(self, kind: str, name: str, source: str) -> None:
        (self.packages / f"plug_{name}.py").write_text(HEAD + textwrap.dedent(source))
        self.plugins.append(Plugin(kind, name, f"plug_{name}", str(self.packages), "1.2", "example"))
        if kind == HOOK:
            self.mirror = self.mirror._replace(plugins={**self.mirror.plugins, name: {}})

    def start(self, *, asked: float = 0.3, last: float = 30.0, **changed: Any) -> None:
        paths = Paths(str(self.folder / "srv/m"), str(self.folder / "srv"), str(self.logs))
        header = Header("w1", 1, "a" * 40, "a" * 40, "x", str(self.folder / "run"), plugins=tuple(self.plugins))
        plan.write(self.layout.plan, header, [Planned(self.mirror._replace(**changed), paths, "a" * 40)])
        words = [sys.executable, "-c", PROGRAM.format(asked=asked, last=last), self.layout.state_dir]
        self.run_process = subprocess.Popen(words, text=True, cwd=REPOSITORY, stderr=subprocess.PIPE)

    def wait_for_mark(self, text: str) -> None:
        wait_until(lambda: text in self.marks, f"the plug-in is at {text}")

    @property
    def marks(self) -> list[str]:
        """What plug-ins wrote down."""
        path = self.logs / "marks"
        return path.read_text().splitlines() if path.exists() else []

    def end(self) -> tuple[int, Run]:
        """Wait for the end of the run; return its exit code, and the run as reports have it."""
        assert self.run_process is not None
        _output, self.said = self.run_process.communicate(timeout=60)
        with journal.opened(self.layout.journal) as book:
            run = book.last_run("m")
        assert run is not None and "Traceback" not in self.said, self.said
        return self.run_process.returncode, run

    def status(self) -> MirrorStatus:
        with journal.opened(self.layout.journal) as book:
            return book.outbox.status("m")

    @property
    def log(self) -> str:
        (found,) = self.logs.glob("m_*.log*")
        return found.read_text()

    def stop(self) -> None:
        """Stop the run as `skipjack stop` does, without a tick after it."""
        operator_commands.execute(self.layout, OperatorCommand("stop", ["m"], "ada"))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr("runner.subprocesses.launch.want_tick", lambda *_words, **_named: None)
    made = Site(tmp_path)
    yield made
    if made.run_process is not None:
        made.run_process.kill()
        made.run_process.communicate()


PROVIDES = "def commands(job):\n    yield Command(('true',), {}, '/')\n"

BLOCKS = {
    "sleep": "time.sleep(10**6)",
    "read": "os.read(os.pipe()[0], 1)",
    "socket": "socket.create_server(('127.0.0.1', 0)).accept()",
    "lock": "threading.Lock().acquire(); lock = threading.Lock(); lock.acquire(); lock.acquire()",
    "work": "any(False for _ in iter(int, 1))",
    "asyncio": "import asyncio; asyncio.run(asyncio.sleep(10**6))",
    "thread": "it = threading.Thread(target=time.sleep, args=(10**6,), daemon=True); it.start(); it.join()",
    "program": "subprocess.run(['sleep', '1000000'])",
}
NAMED = "the provider plug-in `p` (plug_p of example 1.2) was interrupted"


MEDDLES = """
def commands(job):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    signal.set_wakeup_fd(-1)
    os.umask(0o777)
    os.chdir(job.directory)
    yield Command(("sh", "-c", "touch made; echo waits >> $0/marks; exec sleep 10000", job.log_dir), {}, job.directory)
"""


def test_a_stop_ends_the_command_of_a_plug_in_that_changed_signal_handlers(site: Site) -> None:
    site.add(PROVIDER, "p", MEDDLES)
    site.start()
    site.wait_for_mark("waits")

    site.stop()
    _code, run = site.end()

    assert run.status == "stopped"
    assert (site.folder / "srv/m/made").stat().st_mode & 0o777 == 0o644
    changed = "how signals are handled, the umask, the working directory"
    assert f"(plug_p of example 1.2) changed {changed}; that was undone" in site.log


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_a_stop_interrupts_a_provider_whatever_it_does(site: Site, block: str) -> None:
    site.add(PROVIDER, "p", f"def commands(job):\n    mark(job, 'begun')\n    {block}\n    yield\n")
    site.start()
    site.wait_for_mark("begun")

    site.stop()

    code, run = site.end()
    assert (code, run.status, run.reason) == (143, "stopped", "paused by ada")
    assert f"{NAMED}, since it went on after the run received a stop signal" in run.log_tail
    assert "plug_p.py" in site.log, "its author sees where it was"
    assert site.status().status == "paused"
    assert not locks.is_in_use(site.layout.lock("mirror", "m"))


STOPPED_BY_ITSELF = {
    # Python handles a signal only after the next system call. No Python code runs between the signal and the wait.
    "just before a system call": """
    import functools, operator
    def commands(job):
        kill = functools.partial(os.kill, os.getpid(), signal.SIGTERM)
        list(map(operator.call, (kill, functools.partial(time.sleep, 10**6))))
        yield
    """,
    # None of them prolongs the time in which the provider must end.
    "again and again": """
    def commands(job):
        while True:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.05)
        yield
    """,
}


@pytest.mark.parametrize("source", STOPPED_BY_ITSELF.values(), ids=STOPPED_BY_ITSELF)
def test_a_stop_signal_interrupts_a_provider_whenever_it_comes(site: Site, source: str) -> None:
    site.add(PROVIDER, "p", source)
    site.start()
    _code, run = site.end()
    assert (run.status, run.reason.startswith(NAMED)) == ("interrupted", True)


def test_a_stop_signal_alone_is_an_interruption_whose_reason_names_the_plug_in(site: Site) -> None:
    site.add(PROVIDER, "p", "def commands(job):\n    mark(job, 'begun')\n    time.sleep(10**6)\n    yield\n")
    site.start()
    site.wait_for_mark("begun")
    assert site.run_process is not None
    site.run_process.send_signal(signal.SIGTERM)

    code, run = site.end()

    assert (code, run.status) == (143, "interrupted")
    assert run.reason == f"{NAMED}, since it went on after the run received a stop signal"


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_the_time_out_interrupts_a_provider_and_the_hooks_after_it_run(site: Site, block: str) -> None:
    site.add(PROVIDER, "p", f"def commands(job):\n    {block}\n    yield\n")
    site.add(HOOK, "h", "def post_fail(job):\n    mark(job, f'{job.attempt} {job.outcome.status}')\n")
    site.start(timeout=1, retry=2, retry_delay=0)

    code, run = site.end()

    assert (code, run.status, run.attempts) == (1, "timed-out", 2)
    assert run.reason == f"{NAMED}, since it took longer than the time-out of 1s"
    assert site.marks == ["1 timed-out", "2 timed-out"]


PLACES = {
    "import": "{block}\n",
    "begin": "def commands(job):\n    {block}\n    return iter(())\n",
    "names": "def commands(job):\n    yield Command(('true',), {}, '/')\n    {block}\n",
    "cleans up": "def commands(job):\n    try:\n        yield Command(('true',), {}, 'nowhere')\n"
    "    finally:\n        {block}\n",
    "judges": PROVIDES + "def is_success(job, code):\n    {block}\n",
    "explains": "def commands(job):\n    yield Command(('false',), {}, '/')\ndef explain(code):\n    {block}\n",
    "reads a line": "def commands(job):\n    yield Command(('echo', 'x'), {}, '/')\n"
    "class Lines:\n    def line(self, text):\n        {block}\n    def findings(self):\n        return Findings()\n"
    "def reader(job):\n    return Lines()\n",
    "finds figures": PROVIDES + "class Lines:\n    def line(self, text):\n        pass\n"
    "    def findings(self):\n        {block}\ndef reader(job):\n    return Lines()\n",
}


@pytest.mark.parametrize("source", PLACES.values(), ids=PLACES)
def test_a_stop_interrupts_each_function_of_a_provider(site: Site, source: str) -> None:
    reached = site.folder / "reached"
    block = f"pathlib.Path('{reached}').touch(); time.sleep(10**6)"
    site.add(PROVIDER, "p", source.replace("{block}", block))
    site.start()
    wait_until(reached.exists, "the plug-in blocks")

    site.stop()

    code, run = site.end()
    assert run.status in ("stopped", "failed"), run
    assert code in (143, 1)
    assert "provider plug-in `p`" in f"{run.reason} {run.log_tail} {site.said}"


STAGES = {
    "pre_job": "timed-out",
    "pre_exec": "timed-out",
    "post_exec": "timed-out",
    "post_success": "success",
}


@pytest.mark.parametrize(("stage", "status"), STAGES.items())
def test_each_function_of_a_hook_may_take_as_long_as_the_time_out(site: Site, stage: str, status: str) -> None:
    site.add(PROVIDER, "p", PROVIDES)
    site.add(HOOK, "h", f"def {stage}(job):\n    time.sleep(10**6)\n")
    site.start(timeout=1)

    _code, run = site.end()

    named = "the hook plug-in `h` (plug_h of example 1.2) was interrupted, since it took longer than the time-out of 1s"
    assert (run.status, named in f"{run.reason} {run.log_tail}") == (status, True), run


def test_a_hook_after_a_failed_attempt_is_interrupted_beside_the_result(site: Site) -> None:
    site.add(PROVIDER, "p", "def commands(job):\n    yield Command(('false',), {}, '/')\n")
    site.add(HOOK, "h", "def post_fail(job):\n    mark(job, 'begun')\n    time.sleep(10**6)\n")
    site.start()
    site.wait_for_mark("begun")

    site.stop()

    code, run = site.end()
    assert (code, run.status, run.reason) == (1, "failed", "the command exited with 1")
    assert "the hook plug-in `h` (plug_h of example 1.2) was interrupted" in run.log_tail


def test_a_plug_in_that_asks_whether_it_must_stop_ends_by_itself(site: Site) -> None:
    source = """
    def commands(job):
        mark(job, "begun")
        while not job.stopped():
            time.sleep(0.01)
        mark(job, "cleaned up")
        raise Abort(INTERRUPTED, "ended by itself")
        yield
    """
    site.add(PROVIDER, "p", source)
    site.start(asked=60)
    site.wait_for_mark("begun")

    site.stop()

    _code, run = site.end()
    assert (run.status, site.marks) == ("stopped", ["begun", "cleaned up"])
    assert "was interrupted" not in run.log_tail


def test_a_plug_in_may_clean_up_and_the_time_out_stays_the_reason(site: Site) -> None:
    """An exception that it raises meanwhile, or a normal end, do not change why the run ended."""
    source = """
    def commands(job):
        try:
            time.sleep(10**6)
        except BaseException:
            mark(job, "cleaned up")
        yield Command(("touch", "wrong"), {}, job.directory)
    """
    site.add(PROVIDER, "p", source)
    site.start(timeout=1)

    _code, run = site.end()

    assert (run.status, site.marks) == ("timed-out", ["cleaned up"])
    assert run.reason.startswith(NAMED)
    assert not (site.folder / "srv/m/wrong").exists()


def test_the_second_exception_ends_what_caught_the_first(site: Site) -> None:
    source = """
    def commands(job):
        for number in (1, 2, 3):
            try:
                time.sleep(10**6)
            except BaseException:
                mark(job, f"caught {number}")
                if number == 2:
                    raise
        yield
    """
    site.add(PROVIDER, "p", source)
    site.start(timeout=1)

    _code, run = site.end()

    assert (run.status, site.marks) == ("timed-out", ["caught 1", "caught 2"])


SWALLOWS = """
import ctypes
def commands(job):
    child = subprocess.Popen(["sleep", "1000000"], start_new_session=True)
    mark(job, str(child.pid))
    while True:
        try:
            time.sleep(10**6)
        except BaseException:
            continue
    yield
"""


@pytest.mark.parametrize("kind", ["stop", "time-out"])
def test_a_plug_in_that_catches_every_exception_is_killed_with_its_run_and_its_processes(site: Site, kind: str) -> None:
    site.add(PROVIDER, "p", SWALLOWS)
    site.start(last=1.0, **{} if kind == "stop" else {"timeout": 1})
    wait_until(lambda: site.marks, "it has begun")
    (child,) = map(int, site.marks)
    if kind == "stop":
        site.stop()

    code, run = site.end()

    why = "went on after the run received a stop signal" if kind == "stop" else "took longer than the time-out of 1s"
    reason = f"{NAMED}, since it {why}; it did not end then either, so its run was killed"
    if kind == "stop":
        assert (code, run.status, run.reason) == (1, "stopped", "paused by ada")
    else:
        assert (code, run.status, run.reason) == (1, "timed-out", reason)
    assert (run.log_tail, run.attempts) == (reason, 1)
    assert "plug_p.py" in site.log and "time.sleep" in site.log, "its author sees where it was"
    assert not alive(child)
    for kind_of_lock in ("supervisor", "mirror"):
        assert not locks.is_in_use(site.layout.lock(kind_of_lock, "m"))
    with journal.opened(site.layout.journal) as book:
        assert book.active() == []


def test_the_processes_of_an_interrupted_plug_in_are_ended(site: Site) -> None:
    source = """
    def commands(job):
        child = subprocess.Popen(["sh", "-c", "trap '' TERM; sleep 1000000 & wait"], start_new_session=True)
        mark(job, str(child.pid))
        child.wait()
        yield
    """
    site.add(PROVIDER, "p", source)
    site.start(timeout=1)
    _code, run = site.end()
    assert run.status == "timed-out"
    assert not alive(int(site.marks[0]))


def test_a_command_that_a_plug_in_waits_for_is_ended_in_order_at_the_time_out(site: Site) -> None:
    """No exception is raised within Skipjack's own code, which would leave the process behind."""
    source = """
    def commands(job):
        shell = "trap 'echo ended in order; exit 3' TERM; echo $$ > pid; while :; do sleep 0.05; done"
        code = job.execute(Command(("sh", "-c", shell), {}, job.directory), None)
        yield
    """
    site.add(PROVIDER, "p", source)
    site.start(timeout=1)

    _code, run = site.end()

    assert run.status == "timed-out" and run.reason.startswith(NAMED)
    assert "ended in order" in site.log
    assert not alive(int((site.folder / "srv/m/pid").read_text()))


def test_a_command_of_a_hook_that_a_stop_ends_does_not_make_the_run_a_failed_one(site: Site) -> None:
    source = """
    def post_exec(job):
        job.execute(Command(("sh", "-c", f"touch {job.log_dir}/begun; sleep 1000000"), {}, "/"), None)
    """
    site.add(PROVIDER, "p", PROVIDES)
    site.add(HOOK, "h", source)
    site.start(asked=30)
    wait_until(lambda: (site.logs / "begun").exists(), "it runs")

    site.stop()

    code, run = site.end()
    assert (code, run.status) == (143, "stopped")


def test_a_function_that_is_in_time_is_not_interrupted_by_the_alarm_of_another(site: Site) -> None:
    source = """
    def commands(job):
        for number in range(3):
            time.sleep(0.01)
            yield Command(("true",), {}, "/")
        mark(job, "done")
    """
    site.add(PROVIDER, "p", source)
    site.add(HOOK, "h", "def post_success(job):\n    time.sleep(1.5)\n    mark(job, 'hook')\n")
    site.start(timeout=2)

    code, run = site.end()

    assert (code, run.status, site.marks) == (0, "success", ["done", "hook"])
    assert run.log_tail == ""


def test_a_fork_of_a_plug_in_does_not_record_the_end_of_the_run(site: Site) -> None:
    source = """
    def commands(job):
        child = os.fork()
        if child:
            mark(job, str(child))
        while True:
            try:
                time.sleep(10**6)
            except BaseException:
                continue
        yield
    """
    site.add(PROVIDER, "p", source)
    site.start(timeout=1, last=1.0)

    code, run = site.end()

    assert (code, run.status) == (1, "timed-out")
    assert not alive(int(site.marks[0]))
