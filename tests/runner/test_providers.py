"""The command lines of the providers and the figures that they read from logs; no program is run."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from runner.base.mirror_paths import Paths
from runner.plan.deletion_limits import limits_of
from runner.plugin_api import Findings, Job, Machine
from runner.providers import command, rsync, rsync_words, two_stage_rsync
from runner.run import logs
from schemas.records import Mirror, Secret

BUILT_IN = [
    "-aHh", "--no-o", "--no-g", "--stats", "--filter", "risk .~tmp~/", "--exclude", ".~tmp~/",
    "--delete", "--delete-after", "--delay-updates", "--safe-links",
]  # fmt: skip
FIRST = [word for word in BUILT_IN if not word.startswith("--del")]
PARTIAL = "--partial-dir=.~tmp~"
OUTPUT = ["-v", "--no-motd", "--stats", "--no-h", "--info=progress2,flist0", "--out-format=%i %n%L"]
GUARD = ["--debug=del2", "--outbuf=L", "--max-delete=0"]
TRIAL = ["--dry-run", "--info=progress0", "--no-inc-recursive"]
UPSTREAM = "rsync://rsync.example.org/debian/"


def job(*, named: str | None = None, **fields: Any) -> Job:
    mirror = Mirror("debian", "w1", "rsync", UPSTREAM)._replace(**fields)
    made = Job(mirror, Paths("/srv/mirror/debian", "/srv/mirror", "/var/log/skipjack/debian"), Machine("/tmp"))
    made.log_file = "/var/log/skipjack/debian/x.log"
    made.limits = limits_of(made.mirror, named)
    return made


def options(**fields: Any) -> list[str]:
    """Return the options of an rsync, without those that every rsync gets at the end."""
    [made] = rsync.commands(job(named="100%", **fields))
    assert list(made.argv[-8:]) == [*OUTPUT, UPSTREAM, "/srv/mirror/debian/"]
    return list(made.argv[1:-8])


TRACED = ["project/", "project/trace/", "project/trace/host.example", "Archive-Update-in-Progress-host.example"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, [*BUILT_IN, "--timeout=120"]),
        ({"rsync_timeout": 300}, [*BUILT_IN, "--timeout=300"]),
        ({"rsync_no_timeout": True}, BUILT_IN),
        ({"use_ipv4": True}, [*BUILT_IN, "--timeout=120", "-4"]),
        ({"use_ipv4": True, "use_ipv6": True}, [*BUILT_IN, "--timeout=120", "-6"]),
        ({"exclude_file": "/etc/passwd"}, [*BUILT_IN, "--timeout=120", "--exclude-from", "/etc/passwd"]),
        ({"rsync_options": ("--bwlimit=1M",)}, [*BUILT_IN, "--timeout=120", "--bwlimit=1M"]),
        (
            {"exclude_file": "/etc/passwd", "rsync_options": ("-z",), "rsync_options_extra": ("-c",)},
            [*BUILT_IN, "--timeout=120", "--exclude-from", "/etc/passwd", "-z", "-c"],
        ),
        ({"trace": "host.example"}, [*(f"--filter=protect,p /{path}" for path in TRACED), *BUILT_IN, "--timeout=120"]),
        ({"rsync_override": ("-a",), "rsync_options": ("-z",)}, ["-a", "--timeout=120", "-z"]),
        ({"rsync_override": ("-a",), "rsync_override_only": True, "use_ipv6": True, "rsync_options": ("-z",)}, ["-a"]),
    ],
)
def test_the_rsync_command_line(fields: Mapping[str, Any], expected: list[str]) -> None:
    assert options(**fields) == expected


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (("-avz",), ["-az"]),
        (("-v", "-z", "-vv"), ["-z"]),
        (("-q", "-i", "--verbose", "--itemize-changes", "--quiet"), []),
        (("--info=name2", "--info", "all2", "--debug=all", "--out-format=%n", "--log-format", "%n"), []),
        (("-P", "--progress", "--partial"), ["-P", "--partial"]),
        (("--max-delete=5", "--max-delete", "7"), []),
        (("--exclude", "-v", "-f", "- *.iso"), ["--exclude", "-v", "-f", "- *.iso"]),
        (("--exclude=-v", "-ve", "ssh -v"), ["--exclude=-v", "-e", "ssh -v"]),
        (("--stats", "-h", "-8"), ["--stats", "-h", "-8"]),
        (("--stderr=all", "--msgs2stderr", "--outbuf=N"), []),
        (("-z", "--only-in-rsync-9", "-v"), ["-z", "--only-in-rsync-9", "-v"]),
    ],
)
def test_a_definition_cannot_change_the_output_of_rsync(words: tuple[str, ...], left: list[str]) -> None:
    assert options(rsync_override=words, rsync_override_only=True) == left


def stages(**fields: Any) -> list[list[str]]:
    return [list(made.argv[1:-2]) for made in two_stage_rsync.commands(job(named="100%", **fields))]


DEBIAN = [f"--filter={rule}" for rule in two_stage_rsync.PROFILES["debian"]]


def test_the_first_stage_deletes_nothing_and_leaves_out_indices() -> None:
    more = {"rsync_options": ("--bwlimit=1M", "--delete-excluded"), "rsync_options_extra": ("--exclude=*_armel.deb",)}

    first, second = stages(exclude_file="/etc/passwd", **more)

    rest = ["--timeout=120", "--exclude-from", "/etc/passwd", *OUTPUT]
    assert first == [*FIRST, PARTIAL, *DEBIAN, "--bwlimit=1M", "--exclude=*_armel.deb", *rest]
    assert second == [*BUILT_IN, "--bwlimit=1M", "--delete-excluded", "--exclude=*_armel.deb", *rest]


def test_an_override_applies_to_both_stages_and_a_profile_may_be_a_list() -> None:
    first, second = stages(
        rsync_override=("-a", "--delete-after", "--del", "--force", "--exclude", "--delete"),
        rsync_override_only=True,
        stage1_profile=("- *.idx",),
    )

    kept = ["--exclude", "--delete"]
    assert first == ["-a", *kept, "--filter=- *.idx", *OUTPUT]
    assert second == ["-a", "--delete-after", "--del", "--force", *kept, *OUTPUT]
    assert {rule[:2] for rules in two_stage_rsync.PROFILES.values() for rule in rules} == {"+ ", "- "}


@pytest.mark.parametrize(
    ("words", "more", "is_resumed"),
    [
        ((), (), True),
        (("--no-delay-updates",), ("--inplace",), False),
        (("--no-delay-updates",), ("--delay-updates",), True),
        (("--delay-updates",), ("--no-delay-updates",), False),
    ],
)
def test_the_first_stage_resumes_as_the_second_one(
    words: tuple[str, ...], more: tuple[str, ...], *, is_resumed: bool
) -> None:
    first, _second = stages(rsync_options=words, rsync_options_extra=more)
    assert (PARTIAL in first) is is_resumed

    [first, _second] = stages(rsync_override=("-a",), rsync_options=("--delay-updates",))
    assert first[:2] == ["-a", PARTIAL]


@pytest.mark.parametrize("provider", [rsync, two_stage_rsync])
def test_a_sync_that_would_delete_only_names_the_files(provider: ModuleType) -> None:
    *_first, made = provider.commands(job())

    assert list(made.argv[-11:-2]) == [*OUTPUT, *GUARD]
    assert made.output is not None
    assert made.errors is not None


def test_no_option_that_an_old_upstream_does_not_know_is_sent(tmp_path: Path) -> None:
    """A remote shell that prints its arguments shows what rsync sends."""
    shell = tmp_path / "shell"
    shell.write_text('#!/bin/sh\necho "$*" >&2\nexit 1\n')
    shell.chmod(0o755)
    words = ["rsync", *BUILT_IN, *OUTPUT, *GUARD, "-e", str(shell), "host:/files/", f"{tmp_path}/m/"]

    said = subprocess.run(words, check=False, capture_output=True, text=True).stderr.splitlines()[0]

    assert said.startswith("host rsync --server --sender -v")
    assert not [word for word in said.split() if word.startswith(("--info", "--debug", "--out", "--log", "--max"))]


def test_the_policy_gets_every_argument_list() -> None:
    mirror = job(rsync_options=("-z",)).mirror
    lists = list(two_stage_rsync.argument_lists(mirror, "/srv/mirror/debian"))

    ends = [UPSTREAM, "/srv/mirror/debian/"]
    own = ["-z", "--timeout=120", *OUTPUT]
    assert [list(each) for each in lists] == [
        [*stage, *own, *more, *ends]
        for stage in ([*FIRST, PARTIAL, *DEBIAN], BUILT_IN)
        for more in ([], GUARD, [*GUARD, *TRIAL])
    ]


@pytest.mark.parametrize(
    ("upstream", "base", "name"),
    [
        ("rsync://h:873/debian/", "rsync://h:873/debian/", b"./a/b\0"),
        ("rsync://h/module/sub/dir/", "rsync://h/module/", b"sub/dir/./a/b\0"),
        ("rsync://[::1]:8/module/sub/", "rsync://[::1]:8/module/", b"sub/./a/b\0"),
        ("me@h::module/sub/", "me@h::module/", b"sub/./a/b\0"),
        ("me@h:/srv/sub/", "me@h:/srv/sub/", b"./a/b\0"),
    ],
)
def test_single_paths_are_fetched_from_the_root_of_a_module(
    tmp_path: Path, upstream: str, base: str, name: bytes
) -> None:
    made = job(named="100%", upstream=upstream)
    [full] = rsync.commands(made)

    fetched = rsync_words.fetching(made, full, [b"a/b"], str(tmp_path / "list"))

    files = f"--files-from={tmp_path}/list"
    words = [word for word in BUILT_IN if word not in ("--delete", "--delete-after")]
    more = ["--no-r", "-d", "--from0", files, *OUTPUT]
    assert list(fetched.argv[1:]) == [*words, "--timeout=120", *more, base, "/srv/mirror/debian/"]
    assert (tmp_path / "list").read_bytes() == name


def test_another_rsync_program_gets_credentials_in_its_environment(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("open sesame\nsecond line\n")

    more = {"username": "me", "password": Secret(file=str(secret)), "env": {"A": "b"}}
    [made] = rsync.commands(job(named="100%", command="/opt/rsync", **more))

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


def test_the_statistics_of_rsync_are_read_and_the_last_size_counts(tmp_path: Path) -> None:
    text = (
        "Total file size: 1 bytes\nNumber of regular files transferred: 1,234\n"
        "Total bytes received: 987654321\nTotal file size: 1,234,567 bytes\nTotal transferred file size: 5 bytes\n"
    )

    assert read(tmp_path, text, rsync.reader(job())).findings == Findings(
        987654321, 1234, 1234567, by_name=True, transferred=5
    )


def test_a_human_readable_size_is_not_used(tmp_path: Path) -> None:
    assert read(tmp_path, "Total file size: 1.23G bytes\n", rsync.reader(job())).findings.size is None


@pytest.mark.parametrize(
    ("line", "size"), [("Total size is 1.5G", 1_610_612_736), ("Total size is 2", 2), ("Total size is x", None)]
)
def test_the_size_of_a_command_is_the_first_group_of_the_last_match(
    tmp_path: Path, line: str, size: int | None
) -> None:
    reader = command.reader(job(size_pattern="Total size is ([0-9.]+[KMGTP]?)"))

    assert read(tmp_path, f"Total size is 7K\n{line}\n" if size else f"{line}\n", reader).findings.size == size


def test_a_line_that_matches_fail_on_match_is_reported(tmp_path: Path) -> None:
    found = read(tmp_path, "fine\nERROR one\nERROR two\n", command.reader(job()), "^ERROR")

    assert found.forbidden == "ERROR one"
    assert read(tmp_path, "fine\n", command.reader(job()), "^ERROR").forbidden is None


def test_the_tail_of_any_log_is_short(tmp_path: Path) -> None:
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


def test_a_pattern_that_never_ends_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LINE_SECONDS", 0.1)
    text = "fine\n" + "a" * 60_000 + "\n"

    found = read(tmp_path, text, command.reader(job()), "(a+)+b")

    assert "did not get past line 2" in found.stuck
    assert found.tail.startswith("fine\n")
    assert read(tmp_path, "fine\n", command.reader(job()), "^(a+)+b$").stuck == ""


@pytest.mark.parametrize(("fields", "size"), [({}, 1.5 * 1024**4), ({"size_units": 1000}, 1.5 * 1000**4)])
def test_sizes_in_the_log_of_a_command_are_powers_of_1024_by_default(
    tmp_path: Path, fields: Mapping[str, Any], size: float
) -> None:
    made = job(provider="command", size_pattern=r"size-sum: ([0-9.]+[KMGTP]?)", **fields)
    assert read(tmp_path, "size-sum: 1.5T\n", command.reader(made)).findings.size == size
