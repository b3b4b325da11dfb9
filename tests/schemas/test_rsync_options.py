"""A list of options is parsed as by the real rsync."""

import re
import shutil
import subprocess
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.rsync import rsync_options
from schemas.rsync.rsync_options import (
    EXPANDED,
    NO_VALUE,
    NOT_A_NUMBER,
    OTHER_MODE,
    UNKNOWN,
    UNWANTED_VALUE,
    OptionFault,
    canonical,
    read,
    takes_value,
    without,
)

RSYNC = shutil.which("rsync")
assert RSYNC, "these tests need a real rsync"


def reported(*words: str) -> list[tuple[str, str | None]]:
    """The options of a list that has no fault, each with its value."""
    reading = read(words)
    assert reading.fault is None
    return [(option.name, option.value) for option in reading.options]


def rsync(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(RSYNC), *words], capture_output=True, text=True, check=False, cwd="/")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--rsh=sh"], [("--rsh", "sh")]),
        (["--rsh", "sh"], [("--rsh", "sh")]),
        (["-e", "sh"], [("--rsh", "sh")]),
        (["-esh"], [("--rsh", "sh")]),
        (["-e=sh"], [("--rsh", "sh")]),
        (["-e==sh"], [("--rsh", "=sh")]),
        (["--rsh="], [("--rsh", "")]),
        (["-ave", "sh"], [("--archive", None), ("--verbose", None), ("--rsh", "sh")]),
        (["-aesh", "-v"], [("--archive", None), ("--rsh", "sh"), ("--verbose", None)]),
        (["--exclude", "--rsh=sh"], [("--exclude", "--rsh=sh")]),
        (["--exclude", "--exclude", "--rsh=sh"], [("--exclude", "--exclude"), ("--rsh", "sh")]),
        (["--exclude", "--"], [("--exclude", "--")]),
        (["-f", "-"], [("--filter", "-")]),
        (["--del", "--no-r", "--no-z"], [("--delete-during", None), ("--no-recursive", None), ("--no-compress", None)]),
        (["--cc=md5", "--zc", "lz4"], [("--checksum-choice", "md5"), ("--compress-choice", "lz4")]),
        (["--log-format=%n"], [("--out-format", "%n")]),
        (["-DFP"], [("-D", None), ("-F", None), ("-P", None)]),
        (["--zl=3", "-@", "-1", "--max-delete=0x10"],
         [("--compress-level", "3"), ("--modify-window", "-1"), ("--max-delete", "0x10")]),
        (["--time-limit=3", "-s", "--protect-args"],
         [("--stop-after", "3"), ("--secluded-args", None), ("--secluded-args", None)]),
    ],
)  # fmt: skip
def test_options_and_their_values(words: list[str], expected: list[tuple[str, str | None]]) -> None:
    assert reported(*words) == expected


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["-a", "--exclude"], OptionFault(NO_VALUE, "--exclude", 1)),
        (["-ae"], OptionFault(NO_VALUE, "-e", 0)),
        (["--rs=sh"], OptionFault(UNKNOWN, "--rs", 0)),
        (["-a-"], OptionFault(UNKNOWN, "--", 0)),
        (["--=x"], OptionFault(UNKNOWN, "--", 0)),
        (["-rsh=sh"], OptionFault(UNWANTED_VALUE, "-h", 0)),
        (["--archive=1"], OptionFault(UNWANTED_VALUE, "--archive", 0)),
        (["--timeout=1m"], OptionFault(NOT_A_NUMBER, "--timeout", 0)),
        (["--timeout", "--rsh=sh"], OptionFault(NOT_A_NUMBER, "--timeout", 0)),
        (["-v", "--daemon"], OptionFault(OTHER_MODE, "--daemon", 1)),
        (["--dparam=x=y"], OptionFault(OTHER_MODE, "--dparam", 0)),
        (["--exclude", "!#:+"], OptionFault(EXPANDED, "--exclude", 0)),
    ],
)
def test_faults_end_the_parsing(words: list[str], fault: OptionFault) -> None:
    assert read(words).fault == fault


def test_words_that_are_not_options() -> None:
    assert read(["-a", "src", "--exclude", "x", "-", "dst", "--", "-v", "--rsh=x"]).operands == (1, 4, 5, 7, 8)


@pytest.mark.parametrize(
    ("words", "names", "left"),
    [
        ("-avz", ["--verbose"], "-az"),
        ("-v", ["--verbose"], ""),
        ("-vv -a", ["--verbose"], "-a"),
        ("-vaesh", ["--rsh"], "-va"),
        ("-vaesh", ["--verbose"], "-aesh"),
        ("-vae sh -q", ["--rsh"], "-va -q"),
        ("--info progress2 --stats", ["--info"], "--stats"),
        ("-v --exclude -v", ["--verbose"], "--exclude -v"),
        ("-a -vi -- -v", ["--verbose", "--itemize-changes"], "-a -- -v"),
    ],
)
def test_options_are_removed_from_clusters(words: str, names: list[str], left: str) -> None:
    assert without(words.split(), read(words.split()).named(*names)) == tuple(left.split())


def test_the_names_of_options() -> None:
    assert canonical("-e") == canonical("--rsh") == "--rsh"
    assert (canonical("--nonsense"), canonical("-D"), canonical("--no-v")) == (None, "-D", "--no-verbose")
    assert takes_value("-e")
    assert takes_value("--zl")
    assert not takes_value("--archive")
    assert not takes_value("--nonsense")


def test_every_option_of_the_manual_is_known() -> None:
    """`rsync --help` lists no option that the table lacks, and both agree on which of them takes a value."""
    shown = re.findall(r"^(--[A-Za-z0-9-]+)(?:, (-[^-]))?(?:, --\S+)?(=\S+)?", rsync("--help").stdout, re.M)
    shown = [each for each in shown if each[0] not in ("--help", "--no-OPTION")]
    assert len(shown) > 100
    for name, letter, value in shown:
        assert canonical(name) is not None, name
        assert takes_value(name) is bool(value), name
        assert not letter or canonical(letter) == canonical(name), name


READ_NO_FILE = {
    # Words, patterns and numbers.
    "--info", "--debug", "--stderr", "--chmod", "--max-size", "--min-size", "--max-alloc", "--exclude", "--include",
    "--checksum-choice", "--block-size", "--compress-choice", "--skip-compress", "--log-file-format", "--out-format",
    "--bwlimit", "--suffix", "--usermap", "--groupmap", "--chown", "--stop-after", "--stop-at", "--iconv", "--copy-as",
    "--address", "--sockopts", "--outbuf",
    # Rules, of which those that merge a file are judged by their text.
    "--filter",
    # A limit of where paths may lead.
    "--confine-root",
    # Programs, and options of the other side.
    "--rsh", "--rsync-path", "--remote-option",
    # Files and folders that rsync writes. In that for partial files it reads only what it has put there.
    "--partial-dir", "--log-file", "--backup-dir", "--temp-dir", "--write-batch", "--only-write-batch",
}  # fmt: skip
"""Options with a text as their value that make a client read no file."""


def test_for_each_option_it_is_known_whether_rsync_reads_a_file() -> None:
    texts = {name for name, kind in rsync_options._TABLE.values() if kind == rsync_options._TEXT}
    reading = {name for name in rsync_options.READING if takes_value(name)}
    assert reading & READ_NO_FILE == set()
    assert texts - rsync_options._OTHER_MODES == reading | READ_NO_FILE
    assert {canonical(name) for name in rsync_options.READING} == set(rsync_options.READING)
    assert {each.value for each in read(["--config=/x"]).options} == set(), "a server's file is a fault"


def test_only_early_input_reads_a_file_with_the_name_of_standard_input() -> None:
    for name, kind in rsync_options.READING.items():
        if kind in (rsync_options.SENT, rsync_options.PASSWORD):
            assert (rsync_options.file_of(name, "-", kind) is None) == (name != "--early-input")
            assert rsync_options.file_of(name, "/x", kind) == "/x"
    assert rsync_options.sends_files(["--early-input=-"])
    assert not rsync_options.sends_files(["-n", "--exclude=x"])
    assert not rsync_options.sends_files(["-aFC", "--link-dest=/x", "--filter", "risk .~tmp~/", "--read-batch=/x"])


def _value(spelling: str) -> str:
    """Return a value that rsync accepts for an option."""
    special = {
        "--checksum-choice": "md5", "--compress-choice": "zlib", "--stderr": "all", "--outbuf": "L", "--chmod": "u+x",
        "--remote-option": "-x", "--info": "none", "--debug": "FILTER2", "--exclude-from": "/dev/null",
        "--include-from": "/dev/null", "--stop-at": "2199-01-01", "--bwlimit": "600", "--max-alloc": "1g",
        "--filter": "- f", "--confine-root": "/", "--suffix": ".old", "--protocol": "30",
    }  # fmt: skip
    return special.get(str(canonical(spelling)), "29")


UNTRIED = {"--help", "--version", "--iconv", "--crtimes", *rsync_options._OTHER_MODES}
"""Options that end rsync by themselves, and some that depend on how it was built."""

SINCE_3_5 = {"--drop-D", "--no-drop-D", "--confine-root", "--insecure-links", "--no-insecure-links",
             "--compress-threads"}  # fmt: skip


def test_each_option_takes_a_value_where_the_real_rsync_does() -> None:
    """An option takes a value if it swallows the following `--version`."""
    for spelling, (name, kind) in rsync_options._TABLE.items():
        done = rsync(spelling, "--version")
        if name in UNTRIED or (name in SINCE_3_5 and "unknown option" in done.stderr):
            continue
        assert (done.returncode != 0) == takes_value(spelling), spelling
        if takes_value(spelling):
            assert rsync(spelling, _value(spelling), "--version").returncode == 0, spelling
        if kind == rsync_options._NUMBER:
            assert rsync(spelling, "29x", "--version").returncode == 1, spelling


def check(words: Sequence[str]) -> None:
    """Compare the parsed list with the real rsync, which `--version` ends early.

    What rsync says of each rule that it adds shows which word it took for which value.
    """
    reading = read(words)
    done = rsync("--dry-run", "--debug=FILTER2", *words)
    if reading.fault is None and reading.named("--version"):
        assert done.returncode == 0, (words, done.stderr)
    elif reading.fault is not None and reading.fault.kind not in (OTHER_MODE, EXPANDED):
        assert done.returncode == 1, (words, reading, done.stdout)
    if reading.fault is None or reading.fault.kind != NOT_A_NUMBER:
        added = re.findall(r"add_rule\(([-+]) (.*)\)", done.stdout + done.stderr)
        signs = {"--exclude": "-", "--include": "+"}
        rules = [(signs[each.name], each.value) for each in reading.named("--exclude", "--include") if each.value]
        assert added[: len(rules)] == rules, (words, reading, done.stdout)


ATOMS = [
    "-a", "-avz", "-rlt", "-e", "-ave", "-esh", "-e=sh", "-B4", "-aB=8", "-T", "-T/nowhere", "-M-x", "-@",
    "-@1", "-D", "-P", "-0", "-", "--", "-a=x", "-?", "-a-", "--archive", "--archive=1", "--no-r", "--no-v", "--delete",
    "--del", "--exclude", "--exclude=x", "--include", "--include=y", "--exclude=", "--exclude=--rsh=z", "--rsh",
    "--rsh=sh", "--timeout", "--timeout=3", "--timeout=x", "--timeout=08", "--timeout= 7", "--timeout=-", "--timeout=",
    "--max-delete", "--max-delete=0x1f", "--max-delete=2147483648", "--zl", "--cc", "--cc=md5", "--suffix",
    "--temp-dir", "--log-format", "--bogus", "--=x", "---", "--ex", "x", "y", "/nowhere/z", "7",
]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(ATOMS), max_size=7))
def test_any_list_is_read_as_the_real_rsync_reads_it(words: list[str]) -> None:
    check([*words, "--exclude", "end", "--version"])


PLAIN = ["-a", "-rlt", "-esh", "-e", "--exclude", "--exclude=x", "-B", "16", "--", "-", "x", "/nowhere/y", "--suffix"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(PLAIN), max_size=6))
def test_sources_are_the_words_that_the_real_rsync_looks_for(words: list[str]) -> None:
    line = ["--dry-run", *words, "/nowhere/last", "/nowhere/target"]
    reading = read(line)
    if reading.fault is not None or len(reading.operands) < 2:
        return
    done = rsync(*line)
    looked_for = re.findall(r'(?:link_stat|change_dir) "(.*?)" failed', done.stderr)
    if done.returncode == 23:
        assert looked_for == [f"/{line[number]}".replace("//", "/") for number in reading.operands[:-1]]
