"""A user of the machine who may write to a folder of pattern files swaps one for a secret while runs read it."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.base.mirror_paths import Paths
from runner.hooks import exec_commands
from runner.plugin_api import Job, Machine
from runner.providers import PROVIDERS
from runner.run import pipeline
from schemas.records import Mirror
from tests.e2e.gate import Gate
from tests.e2e.parts import ConfigRepository, Worker, wait_until
from tests.e2e.recorder import Recorder
from tests.runner.syncing import UNSTOPPED

RULE, SECRET = "a pattern of this mirror", "the token of this worker"

SWAPPING = """
import os, sys
path, secret = sys.argv[1:]
aside = path + ".aside"
print(flush=True)
while True:
    os.symlink(secret, aside)
    os.rename(aside, path)
    with open(aside, "w") as file:
        file.write("- a pattern of this mirror\\n")
    os.rename(aside, path)
    try:
        os.link(secret, aside)
    except PermissionError:  # the kernel protects files of other users
        continue
    os.rename(aside, path)
    os.unlink(path)
    with open(path, "w") as file:
        file.write("- a pattern of this mirror\\n")
"""
"""A program that swaps a pattern file for a link to a secret, for a hard link and for nothing, without a pause."""


RUNS = 40
"""Runs beside that program. Without copies the secret was sent by every sixth of them."""


class Bench:
    """A folder of pattern files, a secret beside it, and a program `rsync` that first puts the secret into the place of
    the pattern file: it stands for a user who swaps them right before rsync opens the file."""

    def __init__(self, folder: Path, recorder: Recorder) -> None:
        self.folder, self.recorder = folder, recorder
        self.patterns, self.secret = folder / "filters/patterns", folder / "secret"
        self.program = folder / "bin/rsync"
        self.state, self.logs, self.directory = folder / "state", folder / "logs", folder / "mirrors/m"
        for each in (self.patterns.parent, self.program.parent, self.state, self.logs, self.directory):
            each.mkdir(parents=True, exist_ok=True)
        self.secret.write_text(f"- {SECRET}\n")
        self.restore()
        self.program.write_text(f'#!/bin/sh\nln -sf {self.secret} {self.patterns}\nexec {self.rsync} "$@"\n')
        self.program.chmod(0o755)

    @property
    def rsync(self) -> str:
        return str(shutil.which("rsync"))

    def restore(self) -> None:
        self.patterns.unlink(missing_ok=True)
        self.patterns.write_text(f"- {RULE}\n")

    def run(self, provider: str = "rsync", **fields: Any) -> str:
        """Run a mirror once, and give the end's status and reason."""
        mirror = Mirror("m", "w1", provider, self.recorder.url(), retry=1)._replace(**fields)
        paths = Paths(str(self.directory), str(self.directory.parent), str(self.logs))
        programs = (str(self.program), self.rsync)
        machine = Machine(str(self.state), pattern_files=(str(self.patterns.parent),), judged=True, programs=programs)
        job = Job(mirror, paths, machine)
        job.log_file = str(self.logs / "m.log")
        Path(job.log_file).write_text("")
        means = pipeline.Means(
            PROVIDERS[provider], (exec_commands,), (), UNSTOPPED, lambda _number: None, lambda _told: None
        )
        ending = pipeline.run(job, means)
        return f"{ending.status} {ending.reason} {ending.log_tail}"


@pytest.fixture
def bench(tmp_path: Path, recorder: Recorder) -> Bench:
    return Bench(tmp_path / "bench", recorder)


OPTIONS = (
    ("--exclude-from={}",), ("--include-from", "{}"), ("--filter=merge {}",), ("-f", ". {}"), ("-zf. {}",),
    ("--filter=merge,-_{}",), ("--early-input={}",),
)  # fmt: skip


def ways() -> Iterator[dict[str, Any]]:
    for words in OPTIONS:
        yield {"rsync_options": words}
        yield {"provider": "two-stage-rsync", "rsync_options_extra": words}
    for provider in ("rsync", "two-stage-rsync"):
        yield {"provider": provider, "exclude_file": "{}"}
    yield {"provider": "two-stage-rsync", "stage1_profile": ("merge {}",)}
    yield {"rsync_override": ("-a", "--delete", "--exclude-from={}"), "rsync_override_only": True}
    for words in OPTIONS:
        line = f"PROGRAM -a '{' '.join(words)}' UPSTREAM ." if len(words) == 1 else ""
        if line:
            yield {"provider": "command", "command": line}
            yield {"exec_on_success": (line,)}


def filled(value: Any, bench: Bench) -> Any:
    if isinstance(value, tuple):
        return tuple(filled(each, bench) for each in value)
    if not isinstance(value, str):
        return value
    text = value.replace("{}", str(bench.patterns)).replace("PROGRAM", str(bench.program))
    return text.replace("UPSTREAM", bench.recorder.url())


@pytest.mark.parametrize("way", list(ways()), ids=lambda way: " ".join(map(str, way.values())))
def test_a_file_that_is_swapped_after_it_was_judged_is_not_sent(bench: Bench, way: dict[str, Any]) -> None:
    fields = {key: filled(value, bench) for key, value in way.items()}
    if fields.get("provider", "rsync") != "command" and "exec_on_success" not in fields:
        fields["command"] = str(bench.program)
    said = bench.run(**fields)
    assert bench.patterns.is_symlink(), "the program has run"
    assert SECRET.encode() not in bench.recorder.sent
    assert RULE.encode() in bench.recorder.sent, said
    assert said.startswith("success "), said
    assert not list((bench.state / "patterns").rglob("*")), "no copy is left"


def test_a_file_that_is_swapped_without_a_pause_is_never_sent(bench: Bench) -> None:
    words = [sys.executable, "-c", SWAPPING, str(bench.patterns), str(bench.secret)]
    statuses = []
    with subprocess.Popen(words, stdout=subprocess.PIPE) as swapping:
        assert swapping.stdout
        swapping.stdout.readline()
        try:
            for number in range(RUNS):
                way: dict[str, Any] = {"exclude_file": str(bench.patterns)}
                if number % 2:
                    way = {"rsync_options": (f"--filter=merge {bench.patterns}",)}
                before = len(bench.recorder.sent)
                statuses.append(bench.run(**way).split()[0])
                if SECRET.encode() in bench.recorder.sent[before:]:
                    statuses[-1] = "leaked"
        finally:
            swapping.send_signal(signal.SIGKILL)
    assert statuses.count("leaked") == 0, f"{statuses.count('leaked')} of {RUNS} runs"
    assert set(statuses) <= {"success", "refused", "failed"}


def declared(bench: Bench, repository: ConfigRepository, worker: Worker, command: Path) -> None:
    """Give the worker a mirror with the pattern file and with this program as its rsync."""
    with (worker.folder / "policy.yml").open("a") as policy:
        policy.write(f"programs: [{command}]\n")
    policy_text = (worker.folder / "policy.yml").read_text()
    text = policy_text.replace(f"{worker.folder.parent}/filters]", f"{bench.patterns.parent}]")
    (worker.folder / "policy.yml").write_text(text)
    mirror = f"upstream: {bench.recorder.url()}\nexclude_file: {bench.patterns}\ncommand: {command}\n"
    repository.commit({"m.yml": mirror}, "Add m")
    worker.command("follow")


def test_a_dry_run_sends_the_copy_and_prints_the_path_of_the_file(
    bench: Bench, repository: ConfigRepository, worker: Worker
) -> None:
    declared(bench, repository, worker, bench.program)
    said = worker.command("run", "m", "--dry-run")
    assert f"--exclude-from {bench.patterns} " in said.stdout
    assert "patterns/0" not in said.stdout + said.stderr
    assert bench.patterns.is_symlink(), "the program has run"
    assert RULE.encode() in bench.recorder.sent
    assert SECRET.encode() not in bench.recorder.sent
    refused = worker.command("run", "m", "--dry-run", check=False)
    assert f"a run of m would end at once: the `exclude_file` {bench.patterns} is really {bench.secret}," in (
        refused.stderr
    )


def test_the_copies_of_a_killed_run_are_removed_by_the_tick_that_recovers_it(
    bench: Bench, repository: ConfigRepository, worker: Worker, gate: Gate
) -> None:
    waiting, started = bench.folder / "waiting", bench.folder / "started"
    waiting.write_text(f"#!/bin/sh\ntouch {started}\nwhile [ ! -e {gate.open} ]; do sleep 0.05; done\n")
    waiting.chmod(0o755)
    declared(bench, repository, worker, waiting)
    run = worker.start("run", "m")
    wait_until(started.exists, "its rsync runs")
    copies = worker.state / "patterns/m"
    assert [path.read_text() for path in copies.rglob("*") if path.is_file()] == [f"- {RULE}\n"]
    assert not list((worker.root / "m").iterdir()), "nothing is left in the mirror"
    run.kill()
    run.wait()
    assert copies.exists()
    worker.command("tick")
    assert worker.states() == {"m": "interrupted"}
    assert not copies.exists()


def test_a_folder_that_is_swapped_for_a_link_after_follow_does_not_lead_to_a_secret(
    bench: Bench, repository: ConfigRepository, worker: Worker
) -> None:
    declared(bench, repository, worker, bench.program)
    folder = bench.patterns.parent
    elsewhere = bench.folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "patterns").write_text(f"- {SECRET}\n")
    folder.rename(bench.folder / "aside")
    folder.symlink_to(elsewhere)

    worker.command("run", "m", check=False)

    run = worker.run_of("m")
    assert run.status == "refused"
    assert f"is really {elsewhere}/patterns, outside of the policy's `pattern_files`" in run.reason
    assert bench.recorder.sent == b""


def test_a_folder_that_its_administrator_replaces_by_a_link_is_known_after_the_next_follow(
    bench: Bench, repository: ConfigRepository, worker: Worker
) -> None:
    declared(bench, repository, worker, Path(bench.rsync))
    folder = bench.patterns.parent
    folder.rename(bench.folder / "moved")
    folder.symlink_to("moved")
    worker.command("run", "m", check=False)
    assert worker.run_of("m").status == "refused"
    todo = "so restore the file, or run `skipjack follow` if an administrator has moved a folder of the policy"
    assert todo in worker.run_of("m").reason
    assert bench.recorder.sent == b""
    worker.command("follow")
    worker.command("run", "m")
    assert RULE.encode() in bench.recorder.sent
