"""Attacks by merged definitions: to run a file of a mirror, to write elsewhere, to send a secret away."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from runner.base.mirror_paths import paths_of
from runner.plan import plan
from runner.providers import PROVIDERS
from schemas.config.settings import load_runner
from schemas.records import Mirror, Policy
from tests.e2e.parts import ConfigRepository, RsyncDaemon, Worker
from tests.e2e.recorder import Recorder

SECRET = "the token of this worker"


class Site:
    """A worker under a strict policy, whose first mirror has brought files that would do harm if they were used."""

    def __init__(self, repository: ConfigRepository, upstream: RsyncDaemon, tree: Path, worker: Worker) -> None:
        self.repository, self.upstream, self.worker = repository, upstream, worker
        self.marker, self.elsewhere = worker.folder / "ran", worker.folder / "written"
        self.filters = worker.folder.parent / "filters"
        self.token = worker.folder / "token"
        evil = tree / "evil"
        evil.mkdir()
        (evil / "sh").write_text(f"#!/bin/sh\n/usr/bin/touch {self.marker}\n")
        (evil / "sh").chmod(0o755)
        shutil.copy(evil / "sh", evil / "rsync")
        self.evil = worker.root / "first/evil"
        (evil / ".popt").write_text(f"rsync alias --safe-links --rsh={self.evil}/sh\n")
        (evil / "link").symlink_to("/etc")
        (worker.folder / "policy.yml").write_text(
            f"providers: [rsync, two-stage-rsync]\nprograms: []\nreadable: []\npattern_files: [{self.filters}]\n"
        )
        worker.report_to("http://127.0.0.1:9", SECRET)
        self.declare({"first": {}})
        worker.command("run", "first")
        assert os.access(self.evil / "sh", os.X_OK)

    def declare(self, mirrors: Mapping[str, Mapping[str, Any]]) -> str:
        """Commit definitions, follow, and give what follow says."""
        usual = {"upstream": self.upstream.url("files")}
        files = {f"{name}.yml": json.dumps(usual | dict(keys)) for name, keys in mirrors.items()}
        self.repository.commit(dict(files), "Declare")
        done = self.worker.command("follow", check=False)
        return done.stdout + done.stderr

    def planned(self) -> set[str]:
        """The mirrors that may run."""
        with plan.opened(str(self.worker.state / "plan.db")) as opened:
            return {planned.mirror.name for planned in opened.mirrors()}


@pytest.fixture
def site(repository: ConfigRepository, upstream: RsyncDaemon, tree: Path, worker: Worker) -> Site:
    return Site(repository, upstream, tree, worker)


def options(*words: str) -> dict[str, Any]:
    return {"rsync_options": list(words)}


def attacks(site: Site) -> Iterator[dict[str, Any]]:
    """Definitions of which none may be accepted."""
    program, token, out = f"{site.evil}/sh", str(site.token), str(site.elsewhere)
    # Lists of which each is harmless alone.
    yield options("--exclude") | {"rsync_options_extra": ["--exclude", f"--rsh={program}"]}
    joined = {"rsync_override": ["-a", "--exclude"], "rsync_no_timeout": True}
    yield joined | options("--exclude", f"--log-file={out}")
    yield joined | {"rsync_options": ["--exclude"], "rsync_options_extra": ["--exclude", f"--rsh={program}"]}
    shifted = {"provider": "two-stage-rsync", "stage1_profile": ["- x"]} | options("--exclude", "--delete", "--exclude")
    yield shifted | {"rsync_options_extra": ["--exclude", "--del", "--exclude", f"-e{program}"]}
    yield {"rsync_override": ["-a", "-e", program], "rsync_override_only": True}
    yield options("--timeout", "--exclude") | {"rsync_options_extra": ["-e", program]}
    # Every way to write an option.
    for words in (
        ["-e", program], [f"-e{program}"], [f"-e={program}"], ["-ave", program], [f"-ave{program}"],
        [f"--rsh={program}"], ["--rsh", program], [f"--rsync-path={program}"], [f"-M--log-file={out}"],
        ["-M", f"--log-file={out}"],
        [f"--remote-option=--log-file={out}"], [f"--config={program}"], ["--daemon"], ["--dparam=x=y"], ["--detach"],
        ["--server"], ["--sender"], [f"--log-file={out}"], [f"--write-batch={out}"], [f"--only-write-batch={out}"],
        [f"--read-batch={program}"], [f"--temp-dir={out}"], ["-T", out], [f"-aT{out}"], [f"--partial-dir={out}"],
        ["-b", f"--backup-dir={out}"], [f"--link-dest={out}"], [f"--copy-dest={out}"], [f"--compare-dest={out}"],
        ["-K"], ["-aK"], ["--keep-dirlinks"], ["-R", "--no-implied-dirs"], ["--insecure-links"], ["--trust-sender"],
        ["--write-devices"], ["--copy-as=nobody"], ["--super"], ["--remove-source-files"], ["--iconv=x,y"],
        ["--files-from", token], [f"--exclude-from={token}"], ["--include-from", token], [f"--password-file={token}"],
        [f"--early-input={token}"], [f"--filter=merge {token}"], ["-f", f". {token}"], [f"-f.,-_{token}"],
        [f"--filter=merge,-_{token}"], ["--filter=. evil/list"], [f"--filter=dir-merge {token}"], ["-f: .rules"],
        ["--filter=:C"], ["-f-C"], ["-F"], ["-C"], ["--exclude", "!#:+"], ["--", program], [program], ["-"],
        ["--no-such-option"], ["--exclude"], ["--timeout=x"],
    ):  # fmt: skip
        yield options(*words)
        yield {"provider": "two-stage-rsync", "rsync_options_extra": words}
    # Files that rsync would send.
    linked = site.filters / "linked"
    linked.symlink_to(site.token)
    (site.filters / "folder").mkdir()
    os.mkfifo(site.filters / "pipe")
    hard = site.filters / "hard"
    os.link(site.token, hard)
    for path in (
        token, f"{site.filters}/../w/token", str(linked), str(hard), "/proc/self/environ", "/etc/shadow",
        str(site.worker.settings), f"{site.evil}/sh", f"{site.filters}/folder", f"{site.filters}/pipe",
        f"{site.worker.state}/journal.db",
    ):  # fmt: skip
        yield {"exclude_file": path}
        yield options(f"--include-from={path}")
    # Files whose rules make rsync read further ones, with each end that a line can have.
    for number, (rules, rule) in enumerate((
        (f"- x\n.- {token}\n", "."), (f"merge,-_{token}", "merge"), (f"- x .- {token}", ".w"), (f"-\0.- {token}", "."),
        (f"- x\r.- {token}", ".e"), (": rules\n", "."), ("dir-merge,- /rules\n", "merge"), ("-C\n", "."),
        (". rules", "."),
    )):  # fmt: skip
        merging = site.filters / f"merging-{number}"
        merging.write_text(rules)
        yield options(f"--filter={rule} {merging}")
    for path in (token, str(linked), str(site.worker.settings), "/etc/shadow"):
        yield {"username": "x", "password": {"file": path}}
    # Variables.
    for name, value in (
        ("PATH", site.evil), ("HOME", site.evil), ("OPENSSL_CONF", f"{site.evil}/x"), ("GCONV_PATH", site.evil),
        ("TAR_OPTIONS", f"--to-command={program}"), ("LD_PRELOAD", program), ("LD_LIBRARY_PATH", site.evil),
        ("RSYNC_RSH", program), ("RSYNC_CONNECT_PROG", program), ("RSYNC_ICONV", "x"), ("RSYNC_PARTIAL_DIR", out),
        ("POSIXLY_CORRECT", "1"), ("POSIX_ME_HARDER", "1"), ("CVSIGNORE", "x"), ("LOCPATH", site.evil),
        ("NLSPATH", f"{site.evil}/%N"), ("BASH_ENV", program), ("PYTHONPATH", site.evil), ("IFS", "/"),
        ("GIT_SSH_COMMAND", program), ("SSH_ASKPASS", program), ("TUNASYNC_WORKING_DIR", out), ("REPO", program),
        ("TZ", program), ("TZ", f":{program}"), ("TZ", f"../..{program}"), ("LANGUAGE", f"../../..{site.evil}"),
        ("LC_ALL", str(site.evil)), ("PYPI_EXCLUDE", "$(touch x)"), ("DOWNLOAD_TIMEOUT", "a[$(id)]"), ("INIT", "-x"),
        ("MAX_RETRY", "1 --post-file=/x"),
    ):  # fmt: skip
        yield {"env": {name: str(value)}}
    # Programs.
    for command in (program, "sh", "./evil/sh", "evil/sh", f"rsync -e {program}", "/usr/bin/rsync"):
        yield {"command": command}
        yield {"exec_on_success": [command]}
        yield {"exec_on_failure_extra": [command]}
    yield {"provider": "command", "command": program}
    yield {"docker_image": "busybox", "command": program}
    # Upstreams that are none.
    for address in (
        f"-e{program}/",
        "127.0.0.1:/etc/",
        "me@127.0.0.1:x/",
        "rsync://me:pw@127.0.0.1/x/",
        f"{site.evil}/",
    ):
        yield {"upstream": address}
    # Places.
    for path in (f"{site.worker.state}/home", str(site.filters), "/etc/x", f"{site.evil}/link/x"):
        yield {"mirror_dir": path}
        yield {"log_dir": path}


def test_every_attack_is_quarantined_and_other_mirrors_stay(site: Site) -> None:
    (site.filters / "patterns").write_text("*.iso\n")
    evil = {f"evil-{number}": keys for number, keys in enumerate(attacks(site))}
    honest: dict[str, Any] = {
        "honest": {"exclude_file": str(site.filters / "patterns"), "env": {"TZ": "Europe/Berlin"}} | options("-z"),
        # The first stage leaves `--delete` out; what stands behind it must stay a pattern.
        "stages": {"provider": "two-stage-rsync"}
        | options("--exclude", "--delete", "--exclude", f"--rsh={site.evil}/sh"),
    }
    assert len(evil) > 150

    said = site.declare(evil | honest)

    accepted = site.planned() - {"first", *honest}
    assert {name: evil[name] for name in accepted} == {}
    assert {"first", *honest} <= site.planned()
    assert [name for name in evil if f"{name}.yml:" not in said] == [], "each is quarantined with a reason"
    for name in honest:
        site.worker.command("run", name)
    assert not site.marker.exists()
    assert not site.elsewhere.exists()


@pytest.mark.parametrize("way", ["joined lists", "home", "path"])
def test_the_attacks_would_work_without_the_policy(site: Site, way: str) -> None:
    """Without the policy the attempts of the test above do run the file."""
    mirror = Mirror("m", "w1", "rsync", f"127.0.0.1:{site.evil}/")
    if way == "joined lists":
        extra = ("--exclude", f"--rsh={site.evil}/sh")
        mirror = mirror._replace(rsync_options=("--exclude",), rsync_options_extra=extra)
    paths = paths_of(mirror, load_runner(site.worker.settings), Policy())
    arguments = next(PROVIDERS["rsync"].argument_lists(mirror, paths.directory))
    env = os.environ | {"home": {"HOME": str(site.evil)}, "path": {"PATH": str(site.evil)}}.get(way, {})
    program = "/usr/bin/env" if way == "path" else "rsync"
    words = [program, "rsync"] if way == "path" else [program]
    subprocess.run([*words, *arguments], env=env, capture_output=True, check=False)
    assert site.marker.exists()


def test_no_byte_of_a_secret_reaches_the_upstream(site: Site, recorder: Recorder) -> None:
    patterns = site.filters / "patterns"
    patterns.write_text("a pattern of this mirror\n")
    tries: Sequence[Mapping[str, Any]] = [each for each in attacks(site) if SECRET_IS_NAMED & set(each)]
    evil = {f"evil-{number}": {"upstream": recorder.url(), **keys} for number, keys in enumerate(tries)}
    good = {"upstream": recorder.url(), "exclude_file": str(patterns)}

    site.declare({"good": good, **evil})
    for name in ("good", *(name for name, keys in evil.items() if "rsync_options" not in keys)):
        site.worker.command("run", name, check=False)

    assert site.worker.run_of("good").status == "success"
    assert b"a pattern of this mirror" in recorder.sent, "what is sent is seen"
    assert SECRET.encode() not in recorder.sent

    before = len(recorder.sent)
    patterns.unlink()
    patterns.symlink_to(site.token)  # after it was judged
    site.worker.command("run", "good", check=False)
    run = site.worker.run_of("good")
    assert (run.status, "outside of the policy's `pattern_files`" in run.reason) == ("refused", True)
    assert len(recorder.sent) == before


SECRET_IS_NAMED = {"exclude_file", "rsync_options", "password"}


def replaced_by_a_link(path: Path, token: Path) -> None:
    path.unlink()
    path.symlink_to(token)


def replaced_by_a_hard_link(path: Path, token: Path) -> None:
    path.unlink()
    os.link(token, path)


def with_a_rule_that_reads(path: Path, token: Path) -> None:
    path.write_text(f".- {token}\n")


REPLACED: dict[Callable[[Path, Path], None], str] = {
    replaced_by_a_link: "outside of the policy's `pattern_files`",
    replaced_by_a_hard_link: "has 2 hard links",
    with_a_rule_that_reads: "for which rsync reads another file",
}
"""What can be done to a pattern file, each with what the reason says."""


def test_a_pattern_file_is_judged_again_before_each_rsync(site: Site, recorder: Recorder) -> None:
    """Also for an rsync that a definition's own command line starts."""
    program, patterns = str(shutil.which("rsync")), site.filters / "patterns"
    line = f"{program} -a '--filter=merge {patterns}' {recorder.url()} ."
    (site.worker.folder / "policy.yml").write_text(
        f"providers: [rsync, command]\nprograms: [{program}]\nreadable: []\npattern_files: [{site.filters}]\n"
    )
    patterns.write_text("- a pattern of this mirror\n")
    site.declare({
        "synced": {"upstream": recorder.url(), **options(f"--filter=merge {patterns}")},
        "command": {"provider": "command", "upstream": "https://x.example/", "command": line},
        "after": {"exec_on_success": [line]},
    })  # fmt: skip
    for name in ("synced", "command", "after"):
        before = len(recorder.sent)
        site.worker.command("run", name)
        assert b"a pattern of this mirror" in recorder.sent[before:], "what is sent is seen"

    sent = len(recorder.sent)
    for replace, why in REPLACED.items():
        patterns.unlink()
        patterns.write_text("- a pattern of this mirror\n")
        replace(patterns, site.token)
        for name in ("synced", "command"):
            site.worker.command("run", name, check=False)
            run = site.worker.run_of(name)
            assert (run.status, why in run.reason) == ("refused", True), run.reason
        after = site.worker.command("run", "after")
        assert why in after.stderr
        assert len(recorder.sent) == sent


def test_no_container_sees_a_secret_as_its_pattern_file(site: Site) -> None:
    """An inherited key counts also for providers that do not read it: every container gets the file."""
    policy = site.worker.folder / "policy.yml"
    policy.write_text(f"providers: [rsync, command]\nimages: [busybox]\npattern_files: [{site.filters}]\n")
    patterns = site.filters / "patterns"
    mirrors: dict[str, dict[str, Any]] = {
        "script": {"provider": "command", "command": "true", "docker_image": "busybox"},
        "bare": {"rsync_override": ["-a"], "rsync_override_only": True, "docker_image": "busybox"},
        "outside": {"provider": "command", "command": "true"},
    }
    defaults = (site.repository.tree / "_defaults.yml").read_text()

    site.repository.commit({"_defaults.yml": f"{defaults}exclude_file: {site.token}\n"}, "A secret")
    said = site.declare(mirrors)
    assert site.planned() == {"first", "outside"}, "a program of the machine does not get the file"
    assert said.count("may be sent to an upstream") >= 2

    patterns.write_text("- x\n")
    site.repository.commit({"_defaults.yml": f"{defaults}exclude_file: {patterns}\n"}, "Patterns")
    site.worker.command("follow")
    assert site.planned() == {"first", *mirrors}
    replaced_by_a_link(patterns, site.token)
    for name in ("script", "bare"):
        site.worker.command("run", name, check=False)
        run = site.worker.run_of(name)
        assert run.status == "refused"
        assert "outside of the policy's `pattern_files`; the container would see it" in run.reason


def test_a_denied_password_denies_other_mirrors_nothing(site: Site) -> None:
    """The policy lets no mirror read the files that these name, so the folders of the others hold no secret."""
    patterns = site.filters / "patterns"
    patterns.write_text("- x\n")
    named = {"filters": site.filters / "any", "mirror": site.worker.root / "plain/any"}
    denied = {name: {"username": "x", "password": {"file": str(file)}} for name, file in named.items()}
    said = site.declare({"plain": {}, "patterns": {"exclude_file": str(patterns)}, **denied})
    assert site.planned() == {"first", "plain", "patterns"}, said
    readable = site.worker.folder / "policy.yml"
    readable.write_text(f"readable: [{site.filters}]\npattern_files: [{site.filters}]\n")
    said = site.declare({"plain": {}, "new": {"exclude_file": str(patterns)}, **denied})
    assert f"may not be sent to an upstream: it holds {named['filters']}" in said


def test_the_runner_sets_path_and_home_and_passes_on_no_other_variable(site: Site) -> None:
    """A worker that a person starts by hand, with an environment in which rsync would run a file of a mirror."""
    hostile = {
        "PATH": f"{site.evil}:relative::{os.environ['PATH']}", "HOME": str(site.evil), "RSYNC_RSH": f"{site.evil}/sh",
        "RSYNC_CONNECT_PROG": f"{site.evil}/sh", "SSH_AUTH_SOCK": "/agent", "GITHUB_TOKEN": "hush", "LANG": "C.UTF-8",
        "RSYNC_PARTIAL_DIR": str(site.elsewhere), "POSIXLY_CORRECT": "1",
    }  # fmt: skip
    script = site.worker.folder / "show"
    script.write_text("#!/bin/sh\nenv\n")
    script.chmod(0o755)
    (site.worker.folder / "policy.yml").write_text(f"programs: [{script}]\nallowed_env: [default, KNOWN]\n")
    command = {
        "provider": "command",
        "upstream": "https://x/",
        "command": str(script),
        "exec_on_success": [str(script)],
    }
    site.declare({"shows": {**command, "env": {"KNOWN": "mine"}}, "synced": {}})

    for name in ("shows", "synced"):
        words = site.worker.words("run", name)
        done = subprocess.run(words, env=os.environ | hostile, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    assert not site.marker.exists()
    log = (site.worker.folder / "logs/shows/latest").read_text().splitlines()
    seen = [line for line in log if line.startswith(("PATH=", "HOME=", "KNOWN=", "LANG="))]
    assert seen.count("KNOWN=mine") == 2, "the command's, and that of what runs after it"
    assert seen.count("LANG=C.UTF-8") == 2
    homes = {line for line in seen if line.startswith("HOME=")}
    assert len(homes) == 1 and str(site.worker.root) not in homes.pop()
    paths = {line for line in seen if line.startswith("PATH=")}
    assert len(paths) == 1
    assert all(part.startswith("/") for part in paths.pop().removeprefix("PATH=").split(":"))
    assert not [line for line in log if str(site.evil) in line or "hush" in line or "/agent" in line]
