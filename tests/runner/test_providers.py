"""What the providers run and what they read out of logs, without running anything."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from runner import logs
from runner.api import Abort, Findings, Job
from runner.deletion_limits import limits_of
from runner.paths import Paths
from runner.providers import command, rsync, two_stage_rsync
from schemas.records import Mirror, Secret

BUILT_IN = [
    "-aHvh", "--no-o", "--no-g", "--stats", "--filter", "risk .~tmp~/", "--exclude", ".~tmp~/",
    "--delete", "--delete-after", "--delay-updates", "--safe-links",
]  # fmt: skip
UPSTREAM = "rsync://rsync.example.org/debian/"


def job(*, named: str | None = None, **fields: Any) -> Job:
    mirror = Mirror("debian", "w1", "rsync", UPSTREAM)._replace(**fields)
    made = Job(mirror, Paths("/srv/mirror/debian", "/srv/mirror", "/var/log/skipjack/debian"))
    made.log_file = "/var/log/skipjack/debian/x.log"
    made.limits = limits_of(made.mirror, named)
    return made


def options(**fields: Any) -> list[str]:
    """What stands between rsync and the upstream."""
    words = list(rsync.full(job(**fields)).argv)
    assert words[-2:] == [UPSTREAM, "/srv/mirror/debian/"]
    return words[1:-2]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, [*BUILT_IN, "--no-h", "--info=progress2", "--timeout=120"]),
        ({"rsync_timeout": 300}, [*BUILT_IN, "--no-h", "--info=progress2", "--timeout=300"]),
        ({"rsync_no_timeout": True}, [*BUILT_IN, "--no-h", "--info=progress2"]),
        ({"use_ipv4": True}, [*BUILT_IN, "--no-h", "--info=progress2", "--timeout=120", "-4"]),
        ({"use_ipv4": True, "use_ipv6": True}, [*BUILT_IN, "--no-h", "--info=progress2", "--timeout=120", "-6"]),
        (
            {"exclude_file": "/etc/x"},
            [*BUILT_IN, "--no-h", "--info=progress2", "--timeout=120", "--exclude-from", "/etc/x"],
        ),
        (
            {"rsync_options": ("--bwlimit=1M",)},
            [*BUILT_IN, "--no-h", "--info=progress2", "--timeout=120", "--bwlimit=1M"],
        ),
        ({"rsync_override": ("-a",), "rsync_options": ("-z",)}, ["-a", "--timeout=120", "-z"]),
        ({"rsync_override": ("-a",), "rsync_override_only": True, "use_ipv6": True, "rsync_options": ("-z",)}, ["-a"]),
    ],
)
def test_the_rsync_command_line(fields: Mapping[str, object], expected: list[str]) -> None:
    assert options(**fields) == expected


def stages(**fields: Any) -> list[list[str]]:
    return [list(made.argv[1:-2]) for made in two_stage_rsync.commands(job(named="100%", **fields))]


def test_the_first_stage_deletes_nothing_and_leaves_out_what_names_other_files() -> None:
    first, second = stages(rsync_options=("--bwlimit=1M",), rsync_options_extra=("-z",))

    kept = [word for word in BUILT_IN if not word.startswith("--del")]
    filters = [f"--filter={rule}" for rule in two_stage_rsync.PROFILES["debian"]]
    assert first == [*kept, "--no-h", "--info=progress2", "--timeout=120", "--bwlimit=1M", *filters]
    assert second == [*BUILT_IN, "--no-h", "--info=progress2", "--timeout=120", "--bwlimit=1M", "-z"]


def test_an_override_holds_in_both_stages_and_a_profile_may_be_ones_own() -> None:
    first, second = stages(
        rsync_override=("-a", "--delete-after"), rsync_override_only=True, stage1_profile=("- *.idx",)
    )

    assert (first, second) == (["-a", "--filter=- *.idx"], ["-a", "--delete-after"])
    assert {rule[:2] for rules in two_stage_rsync.PROFILES.values() for rule in rules} == {"+ ", "- "}


def passes(tmp_path: Path, log: str, code: int, **fields: Any) -> list[list[str]]:
    """The passes below the deletion guard, when the first one ends with this code and log."""
    made = job(**fields)
    made.log_file = str(tmp_path / "log")
    Path(made.log_file).write_text(log)
    made.exit_code = code
    return [list(each.argv[1:-2]) for each in rsync.commands(made)]


LEFT = "Number of files: 1,000 (reg: 900)\nDeletions stopped due to --max-delete limit ({} skipped)\n"


@pytest.mark.parametrize(
    ("fields", "skipped", "allowed"),
    [
        ({}, 1000, True),
        ({}, 1001, False),
        ({"max_delete": "10%"}, 111, True),
        ({"max_delete": "10%"}, 112, False),
        ({"max_delete": "0%", "max_delete_floor": 100}, 100, True),
        ({"max_delete": "0%"}, 1, False),
        ({"max_delete": 7}, 7, True),
        ({"max_delete": 7}, 8, False),
    ],
)
def test_deletions_are_done_in_a_second_pass_if_they_are_few_enough(
    tmp_path: Path, fields: Mapping[str, object], skipped: int, allowed: bool
) -> None:
    if allowed:
        first, second = passes(tmp_path, LEFT.format(skipped), 25, **fields)
        assert first == [*second, "--max-delete=0"]
    else:
        with pytest.raises(Abort, match=f"{skipped} of {1000 + skipped} files .* would be deleted"):
            passes(tmp_path, LEFT.format(skipped), 25, **fields)


def test_nothing_left_to_delete_needs_no_second_pass_and_a_vanished_file_hides_none(tmp_path: Path) -> None:
    assert len(passes(tmp_path, "Number of files: 3\n", 0)) == 1
    assert len(passes(tmp_path, LEFT.format(5), 24)) == 2
    with pytest.raises(Abort, match="did not tell how much"):
        passes(tmp_path, "", 25)


def test_the_deletion_guard_can_be_turned_off_or_replaced_by_ones_own(tmp_path: Path) -> None:
    for fields in ({"named": "100%"}, {"rsync_options": ("--max-delete=5",)}, {"rsync_override_only": True}):
        [only] = passes(tmp_path, LEFT.format(10**6), 25, **fields)
        assert "--max-delete=0" not in only


def test_another_rsync_program_and_the_credentials_in_its_environment(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("open sesame\nsecond line\n")

    made = rsync.full(job(command="/opt/rsync", username="me", password=Secret(file=str(secret)), env={"A": "b"}))

    assert made.argv[0] == "/opt/rsync"
    assert made.env == {"A": "b", "USER": "me", "RSYNC_PASSWORD": "open sesame"}


def test_which_exit_codes_count_as_success() -> None:
    assert rsync.is_success(job(), 0)
    assert not rsync.is_success(job(), 24)
    assert rsync.is_success(job(rsync_success_exit_codes=(24,), success_exit_codes=(23,)), 24)
    assert rsync.is_success(job(rsync_success_exit_codes=(24,), success_exit_codes=(23,)), 23)
    assert not command.is_success(job(rsync_success_exit_codes=(24,)), 24)


def read(tmp_path: Path, text: str, reader: object, forbidden: str = "") -> logs.Digest:
    path = tmp_path / "log"
    path.write_text(text)
    return logs.digest(str(path), reader, forbidden)  # type: ignore[arg-type]


def test_the_statistics_of_rsync_are_read_and_the_last_ones_count(tmp_path: Path) -> None:
    text = (
        "Total file size: 1 bytes\nNumber of regular files transferred: 1,234\n"
        "Total bytes received: 987654321\nTotal file size: 1,234,567 bytes\nTotal transferred file size: 5 bytes\n"
    )

    assert read(tmp_path, text, rsync.reader(job())).findings == Findings(987654321, 1234, 1234567)


def test_a_size_that_somebodys_own_options_made_human_readable_is_not_guessed_at(tmp_path: Path) -> None:
    assert read(tmp_path, "Total file size: 1.23G bytes\n", rsync.reader(job())).findings.size is None


@pytest.mark.parametrize(
    ("line", "size"), [("Total size is 1.5G", 1_500_000_000), ("Total size is 2", 2), ("Total size is x", None)]
)
def test_the_size_of_a_command_is_the_first_group_of_the_last_match(
    tmp_path: Path, line: str, size: int | None
) -> None:
    reader = command.reader(job(size_pattern="Total size is ([0-9.]+[KMGTP]?)"))

    assert read(tmp_path, f"Total size is 7K\n{line}\n" if size else f"{line}\n", reader).findings.size == size


def test_a_forbidden_line_is_found_and_told(tmp_path: Path) -> None:
    found = read(tmp_path, "fine\nERROR one\nERROR two\n", command.reader(job()), "^ERROR")

    assert found.forbidden == "ERROR one"
    assert read(tmp_path, "fine\n", command.reader(job()), "^ERROR").forbidden is None


def test_the_tail_is_short_whatever_the_log_is(tmp_path: Path) -> None:
    many = read(tmp_path, "".join(f"line {number}\n" for number in range(1000)), command.reader(job())).tail
    wide = read(tmp_path, "x" * 1_000_000, command.reader(job())).tail
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\x00\r\n\x80")

    assert many.splitlines() == [f"line {number}" for number in range(970, 1000)]
    assert len(wide) <= logs.TAIL_CHARACTERS
    assert logs.digest(str(binary), command.reader(job()), "").tail == "\ufffd\0\n\ufffd"


def test_a_command_is_split_into_words_and_nothing_is_expanded() -> None:
    [made] = command.commands(job(command="/opt/run 'two words' $HOME `id` a;b > c"))

    assert made.argv == ("/opt/run", "two words", "$HOME", "`id`", "a;b", ">", "c")
    assert made.cwd == "/srv/mirror/debian"


def test_a_pattern_that_would_try_for_ever_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LINE_SECONDS", 0.1)
    text = "fine\n" + "a" * 60_000 + "\n"

    found = read(tmp_path, text, command.reader(job()), "(a+)+b")

    assert "did not get past line 2" in found.stuck
    assert found.tail.startswith("fine\n")
    assert read(tmp_path, "fine\n", command.reader(job()), "^(a+)+b$").stuck == ""


def test_a_pipe_in_the_place_of_an_exclude_file_is_named_before_rsync_would_wait_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "patterns")
    with pytest.raises(Abort, match="patterns cannot be read: it is a named pipe"):
        rsync.check(job(exclude_file=str(tmp_path / "patterns")))
