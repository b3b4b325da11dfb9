"""Options are a problem exactly if the real rsync exits at once with them."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from runner.providers import rsync
from schemas.config import hints, rsync_mistakes

from .kit import lines, load, one

RSYNC = shutil.which("rsync")
assert RSYNC, "these tests need a real rsync"


def takes(words: list[str], folder: Path, begin: tuple[str, ...] = rsync.BUILT_IN) -> bool:
    """Return whether the real rsync accepts options after the built-in ones."""
    for name in ("from", "to"):
        (folder / name).mkdir()
    argv = [RSYNC, "--dry-run", *begin, *words, f"{folder}/from/", f"{folder}/to/"]
    return subprocess.run(argv, check=False, capture_output=True).returncode == 0  # type: ignore[arg-type]


def problems(words: list[str], key: str = "rsync_options", more: str = "") -> list[str]:
    return [line.split(": ", 1)[1] for line in lines(load(debian=yaml.safe_dump({key: words}) + more).problems)]


AFTER = "which rsync does not accept together with the built-in `--delete-after`. Remove it, or list all options in `r"
DELAYED = "which rsync does not accept together with the built-in `--delay-updates`. Remove one of them, or add `--no-d"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--delete-before"], f"has `--delete-before`, {AFTER}"),
        (["--del"], f"has `--del`, {AFTER}"),
        (["--delete-delay"], f"has `--delete-delay`, {AFTER}"),
        (["--inplace"], f"has `--inplace`, {DELAYED}"),
        (["-z", "--append"], f"has `--append`, {DELAYED}"),
        (["--append-verify"], f"has `--append-verify`, {DELAYED}"),
        (["--no-delay-updates", "--inplace", "--delay-updates"],
         "has `--delay-updates`, which rsync does not accept together with `--inplace` in `rsync_options`. Remove one"),
        (["--no-delay-updates", "--append", "-W"], "has `-W`, which rsync does not accept together with `--append` in"),
        (["-s", "--old-args"], "has `--old-args`, which rsync does not accept together with `-s` in `rsync_options`."),
        (["--dele"], "has the unknown option `--dele`. Did you mean `--del`? rsync does not accept abbreviations."),
        (["--exclud=x"], "has the unknown option `--exclud`. Did you mean `--exclude`?"),
        (["--wholly-other"], "has the unknown option `--wholly-other`. Correct it, or remove it."),
        (["-aj"], "has the unknown option `-j`. Correct it, or remove it."),
        (["--exclude x"], "has `--exclude x` as one word, which is not an option of rsync. Write `--exclude=x`."),
        (["-a --delete"], "has `-a --delete` as one word, which is not an option of rsync. Write each option as"),
        (["--compress=3"], "gives a value to `--compress`, which takes none. Correct it, or remove it."),
        (["--modify-window=x"], "gives `--modify-window` a value that is not a number. Correct it"),
        (["--max-size=1X"], "gives `--max-size` the value `1X`, which rsync does not accept as a size. Write for"),
        (["--bwlimit", "abc"], "gives `--bwlimit` the value `abc`, which rsync does not accept as a size."),
        (["--block-size=x"], "gives `--block-size` the value `x`, which rsync does not accept as a size."),
        (["--filter=X *.iso"], "has an invalid filter rule: `X *.iso`. Write for example `- *.iso`."),
        (["-f", "P"], "has an invalid filter rule: `P`."),
        (["exclude=x"], "has `exclude=x`, which rsync would read as a source or a target. List only options;"),
        (["--", "-a"], "has `--`, after which rsync reads every word as a file name. Remove it."),
    ],
)  # fmt: skip
def test_options_that_rsync_rejects_are_a_problem(tmp_path: Path, words: list[str], said: str) -> None:
    assert not takes(words, tmp_path)
    for key in ("rsync_options", "rsync_options_extra"):
        (problem,) = problems(words, key)
        assert problem.startswith(f"`{key}` {said.replace('rsync_options`', f'{key}`')}")


@pytest.mark.parametrize(
    "words",
    [
        ["--delete-after", "--delete-excluded"], ["--no-delay-updates", "--inplace"], ["--inplace", "--no-inplace"],
        ["--inplace", "--no-delay-updates", "--sparse"], ["--no-delay-updates", "--append"], ["-s"], ["-4z"],
        ["--max-size=1.5m"], ["--max-size", "10MiB"], ["--min-size=5"], ["--bwlimit=10MB"], ["--bwlimit=0"],
        ["--max-size=1k-1"], ["--block-size=1k"], ["--filter=P *.x"], ["--filter=-_*.x"], ["--filter=!"], ["-f-C"],
        ["--exclude", "--inplace"], ["--exclude", "--"], ["--exclude=a b"], ["-f", "- a b"], ["--timeout=0x10"],
    ],
)  # fmt: skip
def test_options_that_rsync_accepts_are_not_a_problem(tmp_path: Path, words: list[str]) -> None:
    assert takes(words, tmp_path)
    assert problems(words) == []


@pytest.mark.parametrize(
    ("override", "words", "fine"),
    [
        (["-a", "--delete-before"], ["--inplace"], True),
        (["-a", "--delete-before"], ["--delete-during"], False),
        (["-a", "--delay-updates"], ["--inplace"], False),
    ],
)
def test_own_options_in_place_of_the_built_in_ones(
    tmp_path: Path, override: list[str], words: list[str], fine: bool
) -> None:
    assert takes(words, tmp_path, tuple(override)) == fine
    found = problems(words, "rsync_options_extra", yaml.safe_dump({"rsync_override": override}))
    assert [line.split(" has ")[0] for line in found] == ([] if fine else ["`rsync_options_extra`"])
    assert all(f"together with `{override[1]}` in `rsync_override`. Remove one of them" in line for line in found)


def test_a_time_out_for_a_daemons_connection_needs_a_daemon(tmp_path: Path) -> None:
    assert not takes(["--contimeout=5"], tmp_path)
    (problem,) = problems(["--contimeout=5"], more="upstream: mirror@h.example.org:/srv/x/\n")
    assert problem.startswith("`rsync_options` has `--contimeout`, which rsync accepts only for an rsync d")
    assert problems(["--contimeout=5"], more="upstream: h.example.org::x/\n") == []


def test_the_built_in_options_are_those_of_the_provider() -> None:
    assert set(rsync_mistakes.BUILT_IN) <= set(rsync.BUILT_IN)
    assert problems([]) == []


def test_quotes_around_a_value_are_a_warning() -> None:
    mirror = one(yaml.safe_dump({"rsync_options": ["--exclude='*.iso'", "--include=it's"]}))
    assert hints.of_mirrors([mirror]) == [
        "`debian`: `--exclude='*.iso'` in `rsync_options` has quotes, which rsync reads as a part of the"
        " value. Remove them."
    ]
