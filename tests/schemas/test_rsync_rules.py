"""Options of rsync with which a sync would silently do nothing, compared with the real rsync."""

import shutil
import subprocess
from pathlib import Path

import pytest

from schemas.config import rsync_rules

from .kit import lines, load

RSYNC = shutil.which("rsync")
assert RSYNC, "these tests need a real rsync"
LINE = "provider: command\ncommand: rsync {} rsync://up.example.org/all/ ./"
NOTHING = "with which rsync transfers nothing. Remove it; `skipjack run NAME --dry-run` shows the effect of a run."


def problem_of(text: str, **files: str) -> str:
    found = load(debian=text, **files)
    (problem,) = lines(found.problems)
    assert found.quarantined == {"debian"}
    return problem


@pytest.mark.parametrize("key", ["rsync_options", "rsync_options_extra", "rsync_override"])
@pytest.mark.parametrize(
    ("words", "spelling"),
    [
        ("[-n]", "-n"), ("[-avn]", "-n"), ("[-anz]", "-n"), ("[-a, --dry-run]", "--dry-run"),
        ("[-a, --list-only]", "--list-only"), ("[-a, --only-write-batch=/tmp/x]", "--only-write-batch"),
        ("[-a, --only-write-batch, /tmp/x]", "--only-write-batch"), ("[-aV]", "-V"), ("[--version]", "--version"),
        ("[-a, --exclude, -n, -n]", "-n"), ("[-a, --help]", "--help"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("provider", ["rsync", "two-stage-rsync"])
def test_an_option_with_which_rsync_transfers_nothing_is_a_problem(
    provider: str, key: str, words: str, spelling: str
) -> None:
    problem = problem_of(f"provider: {provider}\n{key}: {words}")

    assert f"`{key}` has `{spelling}`, {NOTHING}" in problem
    assert problem.startswith("debian.yml:2:")


@pytest.mark.parametrize(
    ("first", "problem"),
    [
        ("[--exclude]", "`rsync_options` ends with `--exclude`, which needs a value"),
        ("[true]", "Entry 1 of `rsync_options` must be text, not true"),
        ("[--bogus]", "`rsync_options` has the unknown option `--bogus`"),
    ],
)
def test_a_wrong_list_hides_no_problem_of_another_one(first: str, problem: str) -> None:
    text = f"rsync_options: {first}\nrsync_options_extra: [--unheard]\nrsync_override: [-a, --daemon]\n"
    found = [line.split(": ", 1)[1].partition(". ")[0] for line in lines(load(debian=text).problems)]
    assert found == [
        problem,
        "`rsync_options_extra` has the unknown option `--unheard`",
        "`rsync_override` has `--daemon`, with which rsync runs as a server",
    ]


def test_a_list_that_lacks_a_value_does_not_hide_the_problem_of_a_command() -> None:
    text = "provider: command\ncommand: rsync -n rsync://h/m/ ./\nrsync_options: [--exclude]\n"
    found = lines(load(debian=text).problems)
    assert any("`command` has `-n`, with which rsync transfers nothing" in line for line in found)
    assert any("`rsync_options` ends with `--exclude`" in line for line in found)


def test_a_wrong_list_hides_no_options_of_others_that_exclude_each_other_and_may_turn_off_some() -> None:
    pair = "rsync_options: [--existing, --ignore-existing, --delete-before, --inplace, --contimeout=5]\n"
    for wrong in ("rsync_options_extra: 5", "rsync_override: [true]"):
        found = lines(load(debian=f"{pair}upstream: 'h:x/'\n{wrong}\n").problems)
        text = "\n".join(found)
        assert [text.count(what) for what in ("together exclude", "has `--contimeout`", "has `--inplace`")] == [1, 1, 0]
        built_in = [line for line in found if "together with the built-in" in line]
        assert len(built_in) == ("override" not in wrong), "a wrong `rsync_override` may replace it"
    (problem,) = lines(load(debian="rsync_override: [-lt]\nrsync_options: 5\n").problems)
    assert "must be a list" in problem, "its options could sync directories"


def test_a_wrong_value_does_not_hide_two_options_that_exclude_each_other() -> None:
    pair = "rsync_options_extra: [--delete-before, --delete-after]\n"
    found = lines(load(debian=f"rsync_options: [--max-size=x]\n{pair}").problems)
    assert len(found) == 2
    assert "which rsync does not accept together with" in found[1]


def test_an_unknown_option_that_may_turn_off_one_of_a_pair_or_turn_on_recursion_is_the_only_problem() -> None:
    for words in ("[--inplace, --no-delay-update]", "[-z, --appnd, --append, --noappend]"):
        (problem, *more) = lines(load(debian=f"rsync_options: {words}").problems)
        assert "has the unknown option `--" in problem
        assert all("has the unknown option `--no" in line for line in more)
    (problem,) = lines(load(debian="rsync_override: [-lt, --recursiv]").problems)
    assert "Did you mean `--recursive`?" in problem


WRONG = {
    "--bogus": "has the unknown option `--bogus`",
    "-Q, value": "has the unknown option `-Q`",
    "-aJjz": "has the unknown option `-j`",
    "-n": "has `-n`, with which rsync transfers nothing",
    "--timeout, x": "gives `--timeout` a value that is not a number",
    "--archive=1": "gives a value to `--archive`, which takes none",
    "'--exclude=!#:+'": "has `!#:+` in the value of `--exclude`",
    "--daemon": "has `--daemon`, with which rsync runs as a server",
    "--max-size=x": "gives `--max-size` the value `x`",
    "'--', -z": "has `--`, after which rsync reads every word as a file name",
    "-z, /srv/x": "has `/srv/x`, which rsync would read as a source",
    "--existing, --ignore-existing": "transfers nothing: `--existing` and `--ignore-existing` together",
    "--delete-before": "has `--delete-before`, which rsync does not accept together with the built-in",
}


@pytest.mark.parametrize("first", WRONG)
def test_no_wrong_option_hides_another_one_in_its_list(first: str) -> None:
    for second in WRONG.keys() - {first}:
        found = lines(load(debian=f"rsync_options: [{first}, {second}]").problems)
        assert len(found) == 2, found
        for what in (WRONG[first], WRONG[second]):
            assert any(what in line for line in found), (second, found)


def test_an_option_with_which_nothing_is_transferred_does_not_hide_that_directories_are_skipped() -> None:
    skipped, nothing = lines(load(debian="rsync_override: [-lt, --list-only]").problems)
    assert "skips all directories" in skipped
    assert "transfers nothing" in nothing


def test_whether_one_list_is_the_only_one_hides_no_problem_of_that_list() -> None:
    found = lines(load(debian="rsync_override_only: maybe\nrsync_override: [-n]\nrsync_options: [-n]").problems)
    assert [line.split(": ", 1)[1].partition(",")[0] for line in found] == [
        "`rsync_override_only` must be `true` or `false`", "`rsync_override` has `-n`",
    ]  # fmt: skip


@pytest.mark.parametrize("key", ["rsync_options", "rsync_options_extra", "rsync_override"])
@pytest.mark.parametrize(
    ("word", "spelling", "effect"),
    [
        ("--read-batch=/tmp/x", "--read-batch", "reads a file in place of the upstream"),
        *[(word, word, "runs as a server") for word in ("--server", "--sender", "--daemon", "--detach")],
        ("--config=/tmp/x", "--config", "runs as a server"),
    ],
)
def test_an_rsync_that_does_not_fetch_from_the_upstream_is_a_problem(
    key: str, word: str, spelling: str, effect: str
) -> None:
    assert f"`{key}` has `{spelling}`, with which rsync {effect}." in problem_of(f"{key}: [-a, {word}]")


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("rsync_override: [-ltv]", "`rsync_override`"), ("rsync_override: [-a, --no-r]", "`rsync_override`"),
        ("rsync_options: [--no-recursive]", "`rsync_options`"),
        ("rsync_override: [-a]\nrsync_options_extra: [-r, --no-r]", "`rsync_override` and `rsync_options_extra`"),
        ("rsync_override: [-lt]\nrsync_override_only: true", "`rsync_override`"),
        ("rsync_override: [-d, --no-d]", "`rsync_override`"),
    ],
)  # fmt: skip
def test_options_with_which_rsync_skips_directories_are_a_problem(text: str, keys: str) -> None:
    expected = (
        f"With the options in {keys} rsync skips all directories, the upstream's top one included. Add `-a` or `-r`."
    )
    assert expected in problem_of(text)


def test_two_options_that_leave_out_every_file_together_are_a_problem() -> None:
    text = "rsync_options: [--existing]\nrsync_options_extra: [--ignore-existing]"

    expected = "With the options in `rsync_options` and `rsync_options_extra` rsync transfers nothing:"
    assert expected in problem_of(text)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ("-avn", f"`command` has `-n`, {NOTHING}"), ("-a --list-only", f"`command` has `--list-only`, {NOTHING}"),
        ("--daemon", "`command` has `--daemon`, with which rsync runs as a server."),
        ("-lt", "rsync skips all directories"),
    ],
)  # fmt: skip
def test_the_same_holds_for_a_command_line_that_is_an_rsync(words: str, what: str) -> None:
    for program in ("rsync", "/usr/bin/rsync"):
        assert what in problem_of(LINE.replace("rsync ", f"{program} ", 1).format(words))


def test_a_command_line_without_a_target_is_a_problem() -> None:
    text = "provider: command\ncommand: rsync -a rsync://up.example.org/all/"
    assert "`command` does not name a target, so rsync only lists files." in problem_of(text)


@pytest.mark.parametrize(
    "text",
    [
        "rsync_options: [-a, --exclude, -n]", "rsync_options: ['--filter=- -n']", "rsync_override: [-rlt]",
        "rsync_override: [-d]", "rsync_override: [--no-r, -r]", "rsync_options: [--write-batch=/tmp/x]",
        "rsync_options: [--existing]", "rsync_options: [-h]", LINE.format("-a"),
        "provider: command\ncommand: rsync rsync://up.example.org/all/one.iso ./",
        "provider: command\ncommand: /srv/sync -n",
    ],
)  # fmt: skip
def test_options_with_which_rsync_syncs_are_not_a_problem(text: str) -> None:
    assert lines(load(debian=text).problems) == []


def test_an_inherited_list_without_effect_is_not_a_problem() -> None:
    base = "provider: rsync\nworker: w1\nupstream: rsync://up.example.org/all/\nrsync_options: [-n]\n"
    assert load(_defaults=base, debian="rsync_override: [-a]\nrsync_override_only: true").problems == ()
    (problem,) = lines(load(_defaults=base, debian="").problems)
    assert problem.startswith("_defaults.yml:4:")


def test_rsync_itself_is_content_with_these_options_and_syncs_nothing(tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "from/file").write_text("x")
    lists: list[list[str]] = [
        ["-an"], ["-a", "--list-only"], ["-a", f"--only-write-batch={tmp_path}/batch"], ["-aV"], ["--help"],
        ["-lt"], ["-a", "--no-r"], ["-d", "--no-d"], ["-a", "--existing", "--ignore-existing"],
    ]  # fmt: skip
    for words in lists:
        done = sync(words, tmp_path)
        assert done.returncode == 0, words
        assert not (tmp_path / "to/file").exists(), words
        assert found(words) == ["rsync_override"], words
    for words in (["-d"], ["-rlt"], ["-a", f"--write-batch={tmp_path}/batch"]):
        assert sync(words, tmp_path).returncode == 0
        assert (tmp_path / "to/file").exists(), words
        assert found(words) == []
        (tmp_path / "to/file").unlink()


def found(words: list[str]) -> list[str]:
    """Return the keys that keep a mirror with these options from syncing."""
    keys = {"provider": "rsync", "rsync_override": words}
    return [key for key, _what, _todo in rsync_rules.without_sync(keys)]


def sync(words: list[str], folder: Path) -> "subprocess.CompletedProcess[bytes]":
    command = [str(RSYNC), *words, f"{folder}/from/", f"{folder}/to/"]
    return subprocess.run(command, check=False, capture_output=True, timeout=300)
