"""Which bytes does each rsync of a run get in the place of its pattern files, and when is it not started?"""

import os
import stat
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from runner.base import pattern_copies, pattern_files
from runner.base.mirror_paths import Paths
from runner.base.repository_patterns import name_of
from runner.hooks import container
from runner.plugin_api import Abort, CannotRun, Command, Job, Machine
from runner.run import processes, sent_files
from schemas.records import Mirror

RULES = "- *.iso\n"


class Bench:
    """A folder of pattern files with one file, a secret beside the folder, and a job that may use the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.filters = folder, folder / "filters"
        self.filters.mkdir()
        self.patterns, self.secret = self.filters / "patterns", folder / "secret"
        self.patterns.write_text(RULES)
        self.secret.write_text("a secret\n")
        self.state = folder / "state"

    def job(self, provider: str = "rsync", *, judged: bool = False, **fields: Any) -> Job:
        mirror = Mirror("m", "w1", provider, "rsync://x.example/x/")._replace(**fields)
        paths = Paths(str(self.folder / "m"), str(self.folder), str(self.folder / "logs"))
        return Job(mirror, paths, Machine(str(self.state), pattern_files=(str(self.filters),), judged=judged))

    def given(self, *words: str, **fields: Any) -> tuple[str, ...]:
        """The words that rsync gets for these; `{}` stands for the pattern file."""
        self.made = self.job(**fields)
        argv = tuple(word.replace("{}", str(self.patterns)) for word in words)
        return processes.with_copies(self.made, Command(("rsync", *argv), {}, "/")).argv[1:]

    def copies(self) -> dict[str, str]:
        """The contents of all copies."""
        found = (path for path in (self.state / "patterns").rglob("*") if path.is_file())
        return {str(path.relative_to(self.state)): path.read_text() for path in found}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.parametrize(
    "words",
    [
        ["--exclude-from={}"], ["--exclude-from", "{}"], ["--include-from={}"], ["--files-from", "{}"],
        ["--filter=merge {}"], ["--filter=merge,-e_{}"], ["--filter", ". {}"], ["-f", ".n {}"], ["-f. {}"],
        ["-f=. {}"], ["-azf", ". {}"], ["-azf. {}"], ["--early-input={}"],
        ["-a", "--exclude", "--exclude-from=x", "--exclude-from={}", "-z"],
    ],
)  # fmt: skip
def test_rsync_reads_a_copy_whatever_the_option_looks_like(bench: Bench, words: list[str]) -> None:
    copy = f"{bench.state}/patterns/m/0/patterns"
    assert bench.given(*words) == tuple(word.replace("{}", copy) for word in words)
    assert bench.copies() == {"patterns/m/0/patterns": RULES}


def test_a_password_of_rsyncs_own_option_is_judged_when_it_is_opened(bench: Bench) -> None:
    secrets = bench.folder / "secrets"
    secrets.mkdir()
    password, token = secrets / "password", secrets / "token"
    password.write_text("open sesame\n")
    token.write_text("the worker's\n")

    def given() -> str:
        made = bench.job()
        made.machine = made.machine._replace(passwords=((str(secrets),), (str(token),), None))
        command = Command(("rsync", f"--password-file={password}"), {}, "/")
        return processes.with_copies(made, command).argv[1]

    password.chmod(0o600)
    assert given() == f"--password-file={bench.state}/patterns/m/0/password"
    assert bench.copies() == {"patterns/m/0/password": "open sesame\n"}
    assert (bench.state / "patterns/m/0/password").stat().st_mode & 0o777 == 0o600
    for target, why in ((token, "a secret of the worker itself"), (bench.secret, "`readable` of the policy does not")):
        password.unlink()
        password.symlink_to(target)
        with pytest.raises(Abort, match=rf"the `--password-file` {password} may not be used: .* {why}"):
            given()
    password.unlink()
    os.link(token, password)
    with pytest.raises(Abort, match="has 2 hard links"):
        given()


def test_one_file_is_not_both_patterns_and_a_password(bench: Bench) -> None:
    with pytest.raises(Abort, match="is named both for patterns and for a password"):
        bench.given("--exclude-from={}", "--password-file={}")


def test_each_file_is_copied_once_under_its_own_name(bench: Bench) -> None:
    (bench.filters / "below").mkdir()
    other = bench.filters / "below/patterns"
    other.write_text("- other\n")
    words = bench.given("--exclude-from={}", "--include-from={}", f"--exclude-from={other}", "--filter=. {}")
    one, two = (f"{bench.state}/patterns/m/{number}/patterns" for number in (0, 1))
    assert words == (f"--exclude-from={one}", f"--include-from={one}", f"--exclude-from={two}", f"--filter=. {one}")
    bench.patterns.write_text("- changed\n")
    again = processes.with_copies(bench.made, Command(("rsync", f"--exclude-from={bench.patterns}"), {}, "/"))
    assert again.argv[1] == f"--exclude-from={one}", "all programs of an attempt read the same rules"
    assert bench.copies() == {"patterns/m/0/patterns": RULES, "patterns/m/1/patterns": "- other\n"}


def test_without_pattern_files_nothing_is_touched(bench: Bench) -> None:
    words = ("-a", "--filter", "risk .~tmp~/", "--exclude", ".~tmp~/", "--exclude-from=-", "-f", "+ x", "-")
    assert bench.given(*words) == words
    assert not bench.state.exists()


def test_copies_of_a_killed_run_are_replaced_and_those_of_this_one_removed(bench: Bench) -> None:
    left = bench.state / "patterns/m/0/left"
    left.parent.mkdir(parents=True)
    left.write_text("of a killed run\n")
    bench.given("--exclude-from={}")
    assert bench.copies() == {"patterns/m/0/patterns": RULES}
    assert bench.made.copies
    bench.made.copies.remove()
    assert list((bench.state / "patterns").iterdir()) == []


def test_only_a_file_that_all_users_can_read_has_a_copy_that_they_can_read(bench: Bench) -> None:
    for mode, expected in ((0o644, 0o644), (0o664, 0o644), (0o640, 0o600), (0o600, 0o600)):
        bench.patterns.chmod(mode)
        [word] = bench.given("--exclude-from={}")
        copy = Path(word.partition("=")[2])
        assert copy.stat().st_mode & 0o777 == expected, oct(mode)
        assert copy.parent.stat().st_mode & 0o022 == copy.parent.parent.stat().st_mode & 0o022 == 0
        assert bench.made.copies
        bench.made.copies.remove()


def test_a_link_within_the_folders_is_followed(bench: Bench) -> None:
    (bench.filters / "link").symlink_to("patterns")
    [word] = bench.given(f"--exclude-from={bench.filters}/link")
    assert word == f"--exclude-from={bench.state}/patterns/m/0/link"
    assert bench.copies() == {"patterns/m/0/link": RULES}


def as_a_link(bench: Bench) -> None:
    bench.patterns.unlink()
    bench.patterns.symlink_to(bench.secret)


def as_a_hard_link(bench: Bench) -> None:
    bench.patterns.unlink()
    os.link(bench.secret, bench.patterns)


def as_a_link_in_the_place_of_the_folder(bench: Bench) -> None:
    (bench.folder / "secrets").mkdir()
    (bench.folder / "secrets/patterns").write_text("a secret\n")
    bench.filters.rename(bench.folder / "aside")
    bench.filters.symlink_to("secrets")


def as_a_link_in_the_place_of_a_folder_below(bench: Bench) -> None:
    below = bench.filters / "below"
    below.symlink_to(bench.folder)
    bench.patterns = below / "secret"


SECRETS = {
    "link": (as_a_link, "is really .*/secret, outside of the policy's `pattern_files`"),
    "hard link": (as_a_hard_link, "has 2 hard links, so it may be a secret as well"),
    "folder": (as_a_link_in_the_place_of_the_folder, "is really .*/secrets/patterns, outside of the policy's"),
    "folder below": (as_a_link_in_the_place_of_a_folder_below, "is really .*/secret, outside of the policy's"),
}


@pytest.mark.parametrize("how", SECRETS)
@pytest.mark.parametrize(
    "fields",
    [
        {"words": "--exclude-from={}"}, {"words": "--filter=merge {}", "provider": "two-stage-rsync"},
        {"words": "--files-from={}", "provider": "command", "judged": True},
        {"words": "--exclude-from={}", "provider": "plug-in", "exclude_file": "{}"},
        {"words": "--filter=. {}", "provider": "plug-in", "stage1_profile": (". {}",)},
        {"words": "-x", "provider": "command", "docker_image": "i", "exclude_file": "{}"},
    ],
)  # fmt: skip
def test_a_secret_is_refused_before_rsync_starts(bench: Bench, how: str, fields: dict[str, Any]) -> None:
    make, why = SECRETS[how]
    make(bench)
    filled = {key: _filled(value, str(bench.patterns)) for key, value in fields.items()}
    with pytest.raises(Abort, match=why) as raised:
        bench.given(filled.pop("words"), **filled)
    assert raised.value.status == "refused"
    assert str(bench.patterns) in raised.value.reason, "it is the file that the administrator knows"
    assert str(bench.state) not in raised.value.reason
    assert bench.copies() == {}


def _filled(value: Any, path: str) -> Any:
    if isinstance(value, tuple):
        return tuple(_filled(each, path) for each in value)
    return value.replace("{}", path) if isinstance(value, str) else value


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({}, "is not a rule of the definition"),
        ({"provider": "command"}, "is a program of a definition that may start any"),
        ({"provider": "plug-in", "docker_image": "i", "exclude_file": None}, "is in a container"),
    ],
)
def test_programs_that_the_policy_does_not_judge_get_their_own_files(
    bench: Bench, fields: Mapping[str, Any], what: str
) -> None:
    elsewhere = f"--exclude-from={bench.secret}"
    given = bench.given(elsewhere, **{"provider": "plug-in", **fields})
    assert given == (elsewhere,), what
    assert bench.copies() == {}


def test_a_plug_in_cannot_pass_a_file_behind_an_option_that_is_not_known(bench: Bench) -> None:
    fields = {"provider": "plug-in", "exclude_file": str(bench.patterns)}
    with pytest.raises(Abort, match=r"would read .*/patterns behind `--newer`, which cannot be judged"):
        bench.given("-a", "--newer", "--exclude-from={}", **fields)
    own = ("--exclude-from=/x", "--newer", "--exclude-from=/y")
    assert bench.given(*own, **fields) == own, "its own files are not judged without a list of programs"


def test_the_list_that_the_runner_writes_itself_is_not_judged(bench: Bench) -> None:
    own = str(bench.secret)
    made = bench.job()
    command = Command(("rsync", f"--files-from={own}", f"--exclude-from={bench.patterns}"), {}, "/", own_files=(own,))
    given = processes.with_copies(made, command).argv[1:]
    assert given == (f"--files-from={own}", f"--exclude-from={bench.state}/patterns/m/0/patterns")


def test_a_file_that_cannot_be_read_ends_the_run_with_its_reason(bench: Bench) -> None:
    bench.patterns.unlink()
    with pytest.raises(Abort, match=r"cannot read the `exclude_file` .*/patterns: No such file.*; create it"):
        bench.given("--exclude-from={}", exclude_file=str(bench.patterns))
    os.mkfifo(bench.patterns)
    with pytest.raises(Abort, match=r"cannot read the `--include-from` .*/patterns: it is a named pipe; make it a reg"):
        bench.given("--include-from={}")


def test_the_size_of_all_files_together_is_limited(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pattern_copies, "MOST", len(RULES) + 3)
    more = bench.filters / "more"
    more.write_text("- x")
    bench.given("--exclude-from={}", f"--exclude-from={more}")
    more.write_text("- xy")
    with pytest.raises(Abort, match=rf"cannot read the `--exclude-from` .*/more: it is larger than {len(RULES) + 3} b"):
        bench.given("--exclude-from={}", f"--exclude-from={more}")
    assert bench.made.copies
    bench.made.copies.remove()
    assert bench.copies() == {}


def test_a_copy_that_cannot_be_written_is_a_problem_of_the_machine(bench: Bench) -> None:
    bench.state.write_text("not a folder")
    with pytest.raises(Abort, match=r"`--exclude-from` .*/patterns cannot be used: cannot copy it to .*: Not a dir"):
        bench.given("--exclude-from={}")


def test_the_rules_of_the_copy_are_judged_for_each_rule_that_merges_it(bench: Bench) -> None:
    bench.patterns.write_text(". /x\n")
    with pytest.raises(Abort, match=r"has the rule `. /x`, for which rsync reads another file"):
        bench.given("--exclude-from={}", "--filter=merge,- {}", "--filter=merge {}")


def test_a_line_of_a_hook_gets_copies_where_the_policy_judges_programs(bench: Bench) -> None:
    command = Command(("/usr/bin/rsync", f"--exclude-from={bench.patterns}"), {}, "/")
    judged = bench.job(judged=True)
    assert sent_files.of_line(bench.job(), command) is command
    assert sent_files.of_line(judged, command).argv[1] == f"--exclude-from={bench.state}/patterns/m/0/patterns"
    as_a_link(bench)
    judged.copies = None
    with pytest.raises(CannotRun, match=r"/usr/bin/rsync was not started: the `--exclude-from` .* is really"):
        sent_files.of_line(judged, command)


def test_a_container_gets_copies_in_the_place_of_the_files(bench: Bench) -> None:
    other = bench.filters / "other"
    other.write_text("- other\n")
    path = str(bench.patterns)
    fields: dict[str, Any] = {"exclude_file": path, "docker_image": "i", "docker_volumes": (f"{other}:{other}:ro",)}
    made = bench.job(**fields)
    command = Command(("rsync", f"--exclude-from={path}", f"--include-from={other}"), {}, made.directory)
    prepared = processes.with_copies(made, command)
    assert prepared is command, "inside of the container the files are at their own paths"
    words = container.enclosed(made, prepared).argv
    volumes = [words[number + 1] for number, word in enumerate(words) if word == "--volume"]
    copies = f"{bench.state}/patterns/m"
    assert volumes[2:] == [f"{copies}/0/patterns:{path}:ro", f"{copies}/1/other:{other}:ro"]


def test_a_hard_link_that_is_removed_while_it_is_judged_is_refused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of links is then 1, because only the secret's own name is left."""
    as_a_hard_link(bench)
    fstat = os.fstat
    links = []

    def removing(descriptor: int) -> os.stat_result:
        bench.patterns.unlink(missing_ok=True)
        found = fstat(descriptor)
        links.append(found.st_nlink)
        if not bench.patterns.exists():
            os.link(bench.secret, bench.patterns)
        return found

    monkeypatch.setattr(os, "fstat", removing)
    with pytest.raises(pattern_files.Unsafe, match="was replaced each time when it was opened"):
        sent_files.copies_of(bench.job()).add(str(bench.patterns))
    assert 1 in links


def test_a_removal_that_has_begun_is_waited_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel counts the link less first, and forgets the name after that. A reader of the folder has to wait."""
    as_a_hard_link(bench)
    fstat, scandir = os.fstat, os.scandir

    def counted(descriptor: int) -> os.stat_result:
        found = list(fstat(descriptor))
        found[stat.ST_NLINK] = 1
        return os.stat_result(found)

    def waiting(folder: int) -> Any:
        bench.patterns.unlink()
        os.link(bench.secret, bench.patterns)
        return scandir(folder)

    monkeypatch.setattr(os, "fstat", counted)
    monkeypatch.setattr(os, "scandir", waiting)
    with pytest.raises(pattern_files.Unsafe, match="was replaced each time when it was opened"):
        sent_files.copies_of(bench.job()).add(str(bench.patterns))


def test_a_file_that_an_editor_replaces_at_that_moment_is_opened_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    fstat, left = os.fstat, [3]

    def replacing(descriptor: int) -> os.stat_result:
        if left[0]:
            left[0] -= 1
            (bench.filters / "new").write_text("- new\n")
            (bench.filters / "new").replace(bench.patterns)
        return fstat(descriptor)

    monkeypatch.setattr(os, "fstat", replacing)
    judge = partial(pattern_files.require_safe, (str(bench.filters),))
    with pattern_files.opened(str(bench.patterns), judge) as descriptor:
        assert os.read(descriptor, 100) == b"- new\n"
    assert left == [0]


@pytest.mark.parametrize("fields", [{}, {"docker_image": "i"}, {"provider": "command", "docker_image": "i"}])
def test_a_file_of_the_repository_must_have_the_content_that_the_plan_names(
    bench: Bench, fields: dict[str, Any]
) -> None:
    """On the machine and in a container, also if nothing but the container could read it."""
    content = b"- *.iso\n"
    stored = bench.state / "repository-patterns" / name_of(content, 40)
    stored.parent.mkdir(parents=True)

    def given() -> None:
        job = bench.job(exclude_file=str(stored), **fields)
        job.machine = job.machine._replace(pattern_files=(str(stored.parent),))
        processes.with_copies(job, Command(("rsync", f"--exclude-from={stored}"), {}, "/"))
        assert job.copies is not None
        assert Path(job.copies.of(str(stored))).read_bytes() == content

    stored.write_bytes(content)
    given()
    for other in (b"", b"- *.iso", b"x" * 65537, b"x" * 65536):
        stored.write_bytes(other)
        with pytest.raises(Abort, match=r"(was altered|it is larger than 65536 bytes).* run `skipjack follow`"):
            given()
