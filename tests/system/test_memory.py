"""Memory limits kept by a real kernel: by a control group of the run's own, and by a unit of systemd."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.hooks import control_group
from tests.e2e.parts import ConfigRepository, Worker, alive, wait_until
from tests.system.box import CGROUPS, Box, make_image
from tests.system.conftest import PYTHON

REPOSITORY = Path(__file__).parents[2]
NOBODY = 65534

GREEDY = f"{sys.executable} -c 'bytearray(200 * 1024**2)'"
"""A command that takes 200 MiB."""

EXCEEDED = "it exceeded its `memory_limit` of 64.0 MiB, for which the kernel killed a process"
MEMORY = CGROUPS / "memory" if (CGROUPS / "memory").is_dir() else CGROUPS


@pytest.fixture
def groups() -> Iterator[Path]:
    """The folder of a control group for the worker."""
    folder = MEMORY / f"skipjack-test-{os.getpid()}"
    folder.mkdir()
    yield folder
    for below in folder.glob("*/"):
        below.rmdir()
    folder.rmdir()


@pytest.fixture
def confined(worker: Worker, groups: Path) -> Worker:
    """A worker that has the control group."""
    with worker.settings.open("a") as settings:
        settings.write(f"cgroup: {groups}\n")
    return worker


def declare(repository: ConfigRepository, worker: Worker, text: str) -> None:
    text = f"provider: command\nupstream: x\nmin_free_space: 0B\nmemory_limit: 64MiB\n{text}"
    repository.commit({"m.yml": text}, "Declare m")
    worker.command("once", check=False)


def log(worker: Worker) -> str:
    return (worker.folder / "logs/m/latest").read_text()


def test_a_run_that_takes_too_much_fails_with_that_reason(
    repository: ConfigRepository, confined: Worker, groups: Path
) -> None:
    declare(repository, confined, f'command: "{GREEDY}"\nretry: 2\n')

    run = confined.run_of("m")

    assert (run.status, run.reason, run.attempts) == ("failed", EXCEEDED, 2)
    assert log(confined).endswith(f"skipjack: {EXCEEDED}\n")
    assert list(groups.glob("*/")) == [], "the group is gone"


def test_a_child_that_takes_too_much_is_found_out_as_well(repository: ConfigRepository, confined: Worker) -> None:
    script = confined.folder / "script"
    script.write_text(f"#!/bin/sh\n{GREEDY}\nexit 7\n")
    script.chmod(0o755)
    declare(repository, confined, f"command: {script}\n")
    assert confined.run_of("m").reason == EXCEEDED


def test_a_run_within_its_limit_succeeds_in_a_group_of_its_own_alone(
    repository: ConfigRepository, confined: Worker, groups: Path
) -> None:
    """Its commands come after the group is left."""
    text = "command: grep memory /proc/self/cgroup\nexec_on_success: [sh -c 'echo after; cat /proc/self/cgroup']\n"
    declare(repository, confined, text)

    run = confined.run_of("m")

    assert (run.status, run.reason, run.log_tail.count("skipjack")) == ("success", "", 1)
    during, after = log(confined).split("after\n")
    assert during.splitlines()[0].endswith(f"/{groups.name}/m")
    assert groups.name not in after
    assert list(groups.glob("*/")) == []


def test_a_failure_after_a_kill_in_an_earlier_attempt_has_a_reason_of_its_own(
    repository: ConfigRepository, confined: Worker
) -> None:
    script = confined.folder / "script"
    script.write_text(f"#!/bin/sh\n[ ! -e been ] || exit 7\ntouch been\nexec {GREEDY}\n")
    script.chmod(0o755)
    declare(repository, confined, f"command: {script}\nretry: 2\n")
    assert confined.run_of("m").reason == "the command exited with 7"
    logs = [path.name for path in (confined.folder / "logs/m").iterdir()]
    assert any("_01.log.fail" in name for name in logs)


def test_a_program_that_cannot_start_leaves_no_group(
    repository: ConfigRepository, confined: Worker, groups: Path
) -> None:
    declare(repository, confined, "command: no-such-program\n")
    assert "was not found" in confined.run_of("m").reason
    assert list(groups.glob("*/")) == []


def test_a_killed_run_leaves_a_group_that_the_next_one_takes(
    repository: ConfigRepository, confined: Worker, groups: Path
) -> None:
    declare(repository, confined, "command: 'true'\n")
    text = "provider: command\nupstream: x\nmin_free_space: 0B\nmemory_limit: 64MiB\n"
    repository.commit({"m.yml": f"{text}command: sh -c 'echo $PPID > pid; exec sleep 100'\n"}, "Let it take its time")
    confined.command("follow")
    pid = confined.root / "m/pid"
    started = confined.start("run", "m")
    supervisor = int(wait_until(lambda: pid.exists() and pid.read_text(), "it has begun"))
    assert supervisor in map(int, (groups / "m/cgroup.procs").read_text().split())
    os.kill(supervisor, signal.SIGKILL)
    started.wait()
    confined.command("tick")
    wait_until(lambda: not (groups / "m/cgroup.procs").read_text().split(), "what it left has been ended")
    assert not alive(supervisor)

    repository.commit({"m.yml": f'{text}command: "{GREEDY}"\n'}, "Let it be greedy")
    confined.command("follow")
    confined.command("run", "m", check=False)

    assert confined.run_of("m").reason == EXCEEDED
    assert list(groups.glob("*/")) == []


USED = """
import json, sys
sys.path.insert(0, sys.argv[1])
from runner.plugin_api import Job, Machine
from runner.hooks import control_group, memory
from runner.base.mirror_paths import Paths
from schemas.records import Mirror
group = sys.argv[2]
job = Job(Mirror("m", "w1", "command", "x", memory_limit=2**26), Paths("", "", ""), Machine(cgroup=group))
places = []
for step in (memory.pre_exec, memory.post_exec):
    step(job)
    places.append(control_group.own())
print(json.dumps([places, job.complaints]))
"""


def test_an_ordinary_user_who_is_not_let_back_goes_to_the_workers_group(groups: Path) -> None:
    """The group that the process came from is root's."""
    with tempfile.TemporaryDirectory(prefix="skipjack-memory-") as name:
        code = Path(name)
        code.chmod(0o755)
        for room in ("runner", "schemas"):
            shutil.copytree(REPOSITORY / room, code / room)
        for path in (groups, groups / "cgroup.procs"):
            os.chown(path, NOBODY, NOBODY)
        words = [PYTHON, "-I", "-S", "-c", USED, str(code), str(groups)]
        done = subprocess.run(
            words, user=NOBODY, group=NOBODY, extra_groups=[], cwd="/", capture_output=True, text=True
        )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[str(groups / "m"), str(groups)], []]
    assert list(groups.glob("*/")) == []


def test_a_group_without_the_controller_enforces_nothing_and_a_message_says_why(
    repository: ConfigRepository, worker: Worker
) -> None:
    """Real groups, but of another kind than memory's."""
    other = CGROUPS / "pids" / f"skipjack-test-{os.getpid()}"
    other.mkdir()
    with contextlib.ExitStack() as stack:
        stack.callback(other.rmdir)
        with worker.settings.open("a") as settings:
            settings.write(f"cgroup: {other}\n")
        declare(repository, worker, "command: 'true'\n")
        run = worker.run_of("m")
        assert run.status == "success"
        assert f"`memory_limit` is not enforced: {other}/m: it has no memory controller; " in run.log_tail
        assert list(other.glob("*/")) == []


def test_a_unit_of_systemd_enforces_it_and_a_kill_in_it_is_reported(
    repository: ConfigRepository, worker: Worker, tmp_path_factory: pytest.TempPathFactory
) -> None:
    declare(repository, worker, f'command: "{GREEDY}"\nretry: 1\n')
    image = tmp_path_factory.mktemp("box") / "box.img"
    make_image(image)
    words = ["systemd-run", "--wait", "--pipe", "--quiet", "--unit=skipjack-run@m.service", "-p", "MemoryMax=64M"]
    with Box(image, "limits") as box:
        done = box.run(*words, *worker.words("run", "m"))
        others = box.run("systemd-run", "--wait", "--pipe", "--quiet", *worker.words("run", "m"))
    assert f"m: failed: {EXCEEDED}" in done.stderr
    assert "not enforced" not in done.stderr
    assert "not enforced" in others.stderr, "a unit of another name sets no limit of this mirror's"


def test_a_process_that_cannot_leave_its_group_is_no_longer_limited(groups: Path) -> None:
    group = control_group.make(str(groups), "m", 2**26)
    name = control_group._limit_file(group)
    before = (groups / name).read_text()
    assert (groups / "m" / name).read_text() == f"{2**26}\n" != before
    control_group.leave(group, "/no/such/group", "/nor/this")
    assert (groups / "m" / name).read_text() == before
    control_group.remove(group)
