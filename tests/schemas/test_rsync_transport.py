"""Addresses and filter rules are parsed as by the real rsync."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from schemas.rsync.rsync_filters import Rule, read
from schemas.rsync.rsync_hosts import DAEMON, LOCAL, SHELL, transport

RSYNC = shutil.which("rsync")
assert RSYNC, "these tests need a real rsync"

WORDS = {
    "rsync://127.0.0.1:9/m/": DAEMON, "RSYNC://127.0.0.1:9/m/": DAEMON, "rsync://me@127.0.0.1:9/m/": DAEMON,
    "rsync://127.0.0.1:9": DAEMON, "rsync://[::1]:9/m/": DAEMON, "127.0.0.1::m/": DAEMON, "me@127.0.0.1::m": DAEMON,
    "rsync://me:pw@127.0.0.1/m/": SHELL, "rsync://127.0.0.1:x/m/": SHELL, "rsync:m": SHELL, "127.0.0.1:m/": SHELL,
    "me@127.0.0.1:/m": SHELL, "[::1]:m": SHELL, "a:b::c": SHELL, "me:pw@127.0.0.1::m": SHELL, "@127.0.0.1:x": SHELL,
    "/nowhere/a:b/": LOCAL, "./a:b": LOCAL, "nowhere": LOCAL, "nowhere/a::b": LOCAL, "[::1]x:m": LOCAL,
    "x[::1]:m": LOCAL,
}  # fmt: skip


@pytest.mark.parametrize(("word", "expected"), WORDS.items())
def test_how_an_argument_is_reached(word: str, expected: str, tmp_path: Path) -> None:
    assert transport(word) == expected

    shell = tmp_path / "shell"
    shell.write_text(f"#!/bin/sh\n/usr/bin/touch {tmp_path}/started\n")
    shell.chmod(0o755)
    env = {"PATH": "/nowhere", "RSYNC_RSH": str(shell), "RSYNC_CONNECT_PROG": "/bin/echo"}
    words = [str(RSYNC), "--dry-run", word, f"{tmp_path}/target/"]
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=300)
    if (tmp_path / "started").exists():
        assert expected == SHELL
    elif re.search(r"link_stat|change_dir", done.stderr):
        assert expected == LOCAL
    else:
        assert expected == DAEMON, done.stderr


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("- *.iso", Rule("-", "", "*.iso")), ("+ a b", Rule("+", "", "a b")), ("-_x", Rule("-", "", "x")),
        ("-,p x", Rule("-", "p", "x")), ("exclude x", Rule("-", "", "x")), ("hide,! x", Rule("H", "!", "x")),
        ("merge /f", Rule(".", "", "/f")), ("merge,- /f", Rule(".", "-", "/f")), (". /f", Rule(".", "", "/f")),
        (".,-_/f", Rule(".", "-", "/f")), (".-_/f", Rule(".", "-", "/f")), ("merge_/f", Rule(".", "", "/f")),
        ("dir-merge /f", Rule(":", "", "/f")), (": f", Rule(":", "", "f")), (":C", Rule(":", "C", "")),
        ("-C", Rule("-", "C", "")), ("risk .~tmp~/", Rule("R", "", ".~tmp~/")), ("!", Rule("!", "", "")),
        ("clear", Rule("!", "", "")), ("mergex /f", Rule("", "", "mergex /f")), ("x", Rule("", "", "x")),
        ("", Rule("", "", "")),
    ],
)  # fmt: skip
def test_the_parts_of_a_rule(text: str, rule: Rule) -> None:
    assert read(text) == rule


RULES = [
    "- x", "+ x", "-x", "-_x", "-,x", "-p x", "exclude x", "excludex", "include_x", "hide x", "H x", "P,x",
    "protect x", "risk x", "show x", "clear", "!", "! x", "merge {}", "merge_{}", "merge,- {}", ".- {}", ". {}",
    ".,_{}",
    ".{}", "merge{}", "dir-merge x", "dir-merg x", ": x", ":n x", ":C", "-C", "include,C", "x", "", "m {}", "merge\t{}",
    "- merge {}", "c",
]  # fmt: skip


@pytest.mark.parametrize("text", RULES)
def test_rules_for_which_rsync_reads_a_file(text: str, tmp_path: Path) -> None:
    """A missing file shows that rsync tries to read it."""
    missing = str(tmp_path / "missing")
    rule = read(text.format(missing))

    words = [str(RSYNC), f"--filter={text.format(missing)}", "--version"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)

    if missing in done.stderr and "failed to open" in done.stderr:
        assert (rule.kind, rule.pattern) == (".", missing)
    elif done.returncode == 0:
        assert rule.kind != "." or not rule.pattern.startswith("/"), "it would have been opened"
    else:
        assert done.returncode == 1, "not a rule for rsync"
