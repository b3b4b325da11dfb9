"""How runs end, each end with its own status and reason, with real processes."""

import signal
from pathlib import Path

from tests.e2e.parts import PATIENCE, ConfigRepository, RsyncDaemon, Worker, alive, wait_until

UNDER_WAY = ("launching", "pre-syncing", "syncing")


def script(worker: Worker, text: str, mode: int = 0o755) -> Path:
    path = worker.folder / "script"
    path.write_text(text)
    path.chmod(mode)
    return path


def declare(repository: ConfigRepository, worker: Worker, command: Path | str, more: str = "") -> None:
    text = f"provider: command\nupstream: https://files.example/\ncommand: {command}\n{more}"
    repository.commit({"m.yml": text}, "Add m")
    worker.command("follow", "--start")
    try:
        wait_until(lambda: worker.states().get("m", "launching") not in UNDER_WAY, "first run ends")
    except TimeoutError as error:
        messages = worker.state / "messages.log"
        said = messages.read_text() if messages.exists() else "nothing was said"
        raise TimeoutError(f"{error}; {worker.states()}; {said}") from error


ENDS = {
    "succeeds": ("#!/bin/sh\nexit 0\n", "", "success", ""),
    "fails": ("#!/bin/sh\nexit 7\n", "", "failed", "the command exited with 7"),
    "accepted": ("#!/bin/sh\nexit 7\n", "success_exit_codes: [7]\n", "success", ""),
    "killed": ("#!/bin/sh\nkill -9 $$\n", "", "failed", "the command was ended by signal 9"),
    "matches": ("#!/bin/sh\necho ERROR: broken\n", "fail_on_match: ^ERROR\n", "failed", "ERROR: broken"),
    "search": (
        "#!/bin/sh\nprintf '%0999d' 0 | tr 0 a\n", "fail_on_match: (a+)+b\n", "failed", "did not get past line 1",
    ),
    "late": ("#!/bin/sh\nsleep 60\n", "timeout: 1s\n", "timed-out", "longer than its time-out of 1s"),
    "interpreter": ("#!/no/such/interpreter\n", "", "failed", "the interpreter that it names is missing"),
    "shebang": ("echo no shebang\n", "", "failed", "no usable `#!` line"),
}  # fmt: skip
"""The script of each mirror, keys of its definition, and the status and reason of its run."""


def test_every_end_has_its_status_and_a_reason(repository: ConfigRepository, worker: Worker) -> None:
    files = {}
    for name, (text, more, _, _) in ENDS.items():
        command = script(worker, text).rename(worker.folder / name)
        files[f"{name}.yml"] = f"provider: command\nupstream: https://x.example/\ncommand: {command}\n{more}"
    repository.commit(files, "Add all")
    worker.command("follow")
    for name in ENDS:
        worker.command("run", name, check=False)

    for name, (_, _, status, reason) in ENDS.items():
        run = worker.run_of(name)
        assert (run.status, reason in run.reason, bool(run.reason)) == (status, True, bool(reason)), name
        has_ended = name not in ("interpreter", "shebang")  # these two never start
        assert (run.free_space is not None) == has_ended, name
        log = worker.folder / f"logs/{name}/latest"
        assert log.resolve().name.endswith(".log" if status == "success" else ".log.fail")
        assert run.reason in log.read_text()


def test_a_missing_run_bit_and_a_missing_program_are_explained(repository: ConfigRepository, worker: Worker) -> None:
    declare(repository, worker, script(worker, "#!/bin/sh\n", mode=0o644))
    assert "chmod +x" in worker.run_of("m").reason

    declare(repository, worker, "no-such-program")
    worker.command("run", "m", check=False)
    assert "the program no-such-program was not found in " in worker.run_of("m").reason


def test_a_failed_attempt_is_repeated_and_each_has_its_log(repository: ConfigRepository, worker: Worker) -> None:
    flag = worker.folder / "flag"
    text = f"#!/bin/sh\n[ -e {flag} ] && exit 0\ntouch {flag}\nexit 1\n"
    declare(repository, worker, script(worker, text), "retry: 3\n")

    run = worker.run_of("m")

    assert (run.status, run.attempts) == ("success", 2)
    names = sorted(path.name for path in (worker.folder / "logs/m").iterdir() if not path.is_symlink())
    assert [name.partition("_")[2].split("_")[2] for name in names] == ["01.log.fail.gz", "02.log"]


def test_only_the_newest_logs_are_kept(repository: ConfigRepository, worker: Worker) -> None:
    declare(repository, worker, script(worker, "#!/bin/sh\nexit 1\n"), "retry: 14\n")

    kept = [path.name for path in (worker.folder / "logs/m").iterdir() if not path.is_symlink()]

    assert sorted(int(name.split("_")[3].split(".")[0]) for name in kept) == list(range(5, 15))


def test_a_stop_ends_the_whole_group_even_if_it_ignores_it(repository: ConfigRepository, worker: Worker) -> None:
    declare(repository, worker, script(worker, "#!/bin/sh\nexit 0\n"), "retry: 5\n")
    pids = worker.folder / "pids"
    script(worker, f"#!/bin/sh\ntrap '' TERM\nsleep 1000 &\necho $$ $! > {pids}\nwait\nsleep 1000\n")
    run = worker.start("run", "m")
    wait_until(lambda: pids.exists() and pids.read_text(), "the script is at work")

    run.send_signal(signal.SIGTERM)

    assert run.wait(PATIENCE) == 143
    ended = worker.run_of("m")
    assert (ended.status, ended.attempts) == ("interrupted", 1)
    for pid in map(int, pids.read_text().split()):
        assert not alive(pid)


def test_a_grandchild_in_a_session_of_its_own_goes_as_well(repository: ConfigRepository, worker: Worker) -> None:
    pids = worker.folder / "pids"
    text = f"#!/bin/sh\nsetsid sh -c 'trap \"\" TERM; echo $$ >> {pids}; while :; do sleep 1; done' &\n"
    declare(repository, worker, script(worker, f"{text}while [ ! -s {pids} ]; do sleep 0.05; done\n"))
    assert worker.run_of("m").status == "success"
    assert not [pid for pid in pids.read_text().split() if alive(int(pid))]

    script(worker, f"{text}sleep 1000\n")
    pids.unlink()
    run = worker.start("run", "m")
    wait_until(lambda: pids.exists() and pids.read_text(), "the grandchild is at work")
    run.send_signal(signal.SIGTERM)

    assert run.wait(PATIENCE) == 143
    assert not [pid for pid in pids.read_text().split() if alive(int(pid))]


def test_processes_of_a_command_do_not_outlive_it(repository: ConfigRepository, worker: Worker) -> None:
    pid = worker.folder / "pid"
    declare(repository, worker, script(worker, f"#!/bin/sh\nsleep 1000 &\necho $! > {pid}\n"))

    assert worker.run_of("m").status == "success"
    wait_until(lambda: not alive(int(pid.read_text())), "the left-over process is gone")


def test_a_link_that_leads_out_of_the_root_is_refused(
    repository: ConfigRepository, upstream: RsyncDaemon, worker: Worker, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("keep me")
    repository.commit({"m.yml": f"upstream: {upstream.url('files')}\n"}, "Add m")
    worker.command("once")
    (worker.root / "m").rename(worker.root / "was-m")
    (worker.root / "m").symlink_to(outside)

    assert worker.command("run", "m", check=False).returncode == 1

    assert worker.run_of("m").status == "refused"
    assert [path.name for path in outside.iterdir()] == ["precious"]


def test_a_mirror_that_waits_for_a_slot_is_queued_and_then_runs(repository: ConfigRepository, worker: Worker) -> None:
    gate = worker.folder / "gate"
    command = script(worker, f"#!/bin/sh\nwhile [ ! -e {gate} ]; do sleep 0.05; done\n")
    text = f"provider: command\nupstream: https://files.example/\ncommand: {command}\n"
    repository.commit({f"m{number}.yml": text for number in range(4)}, "Add four for two slots")
    worker.command("follow", "--start")

    wait_until(lambda: sorted(worker.states().values()) == ["queued", "queued", "syncing", "syncing"], "two wait")
    gate.touch()

    wait_until(lambda: set(worker.states().values()) == {"success"} and len(worker.states()) == 4, "all have run")
