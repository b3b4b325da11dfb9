"""No file makes `skipjack validate` fail with a traceback or run forever: files with changed bytes and structure."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner import cli
from runner.checking.formats import SHOW
from schemas.config.schema_set import schema
from tests.cases import some

ROOT = Path(__file__).parents[2]
PER_FOLDER = 25
"""Mutated definitions that are checked together."""

WHOLE = {
    "_site.yml": (ROOT / "mirrors/_site.yml").read_bytes(),
    "_workers.yml": (ROOT / "mirrors/_workers.yml").read_bytes(),
    "_defaults.yml": (ROOT / "mirrors/_defaults.yml").read_bytes(),
    ".skipjack/schemas/git.provider.schema.json": (
        ROOT / "tests/plugins/skipjack-git/skipjack_git/git.schema.json"
    ).read_bytes(),
}
MIRRORS = [path.read_bytes() for path in sorted((ROOT / "mirrors").rglob("[!_]*.yml"))]
KEYS = sorted(schema("mirror")["properties"])

TOKENS = (
    b"\0", b"\xff", b"\xef\xbb\xbf", b"\t", b"\r", b"\n", b"\x85", "\u2028".encode(), "\u202e".encode(), b"\x1b[2J",
    b": ", b"- ", b"? ", b"# ", b"[", b"]", b"{", b"}", b",", b"&a ", b"*a", b"!!python/object:os.system ", b"!x ",
    b"|", b">-\n", b"'", b'"', b'"\\x41\\u0000"', b"---\n", b"...\n", b"%YAML 1.1\n", b"<<: *a\n", b"<<<<<<< HEAD\n",
    b"~", b"null", b"yes", b"0x1F", b"1e400", b"-" * 300, b"9" * 400, b"[" * 600, b"a: &a [*a]\n", b"{a: " * 40,
    b"::error::x\n", b"%0A", b"(" * 150, b"(a+)+$", b"\\", b"/../..", b"//", b"rsync://[::1", b"ssh://u:p@h:x/",
    *(f"{key}: ".encode() for key in KEYS),
)  # fmt: skip
"""What is inserted: characters and words that some part of a parser treats in a special way."""

VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 10**18, 1.5, "", " ", "x", "-x", "/", "/x/../y", "a|b", "'", "(", "*", "\0", "é" * 70,
    "6h", "rsync://h/m/", "rsync://u:p@h:99999/m/", "https://[x", "host::m", "00:00-24:00", "* * * * *", "0 0 31 2 *",
    [], [""], ["x", 1, None], [[]], {}, {"x": {}}, {"": 1}, {"w": {"worker": {}}}, ["w"] * 3, "1000000000000d", "99TiB",
)  # fmt: skip


def changed_bytes(chance: random.Random, data: bytes) -> bytes:
    """A copy with one to six changes of bytes."""
    copy = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        start = chance.randint(0, len(copy))
        end = min(len(copy), start + chance.choice((0, 1, 1, 2, 8, 60)))
        kind = chance.randrange(6)
        if kind == 0:
            copy[start:end] = bytes(chance.randrange(256) for _ in range(end - start))
        elif kind == 1:
            del copy[start:end]
        elif kind == 2:
            copy[start:start] = copy[start:end] * chance.choice((1, 2, 50))
        elif kind == 3:
            other = chance.choice(MIRRORS)
            copy[start:] = other[chance.randint(0, len(other)) :]
        else:
            copy[start:start] = chance.choice(TOKENS)
    return bytes(copy)


def changed_structure(chance: random.Random, data: bytes) -> bytes:
    """A copy with other values, keys and nesting, written as YAML or JSON."""
    plain = yaml.safe_load(data)
    for _ in range(chance.randint(1, 5)):
        plain = _changed(chance, plain)
    if chance.random() < 0.3:
        return json.dumps(plain, default=str).encode()
    text: str = yaml.safe_dump(
        plain,
        width=chance.choice((20, 80, 1000)),
        default_flow_style=chance.choice((None, True, False)),
        allow_unicode=chance.random() < 0.5,
    )
    return text.encode("utf-8", "surrogatepass")


def _changed(chance: random.Random, plain: Any) -> Any:
    if isinstance(plain, dict) and plain and chance.random() < 0.9:
        key = chance.choice(list(plain))
        kind = chance.randrange(5)
        if kind == 0:
            return {other: value for other, value in plain.items() if other != key}
        if kind == 1:
            return plain | {chance.choice(KEYS): chance.choice(VALUES)}
        if kind == 2:
            return {(chance.choice(KEYS) if other == key else other): value for other, value in plain.items()}
        return plain | {key: _changed(chance, plain[key])}
    if isinstance(plain, list) and plain and chance.random() < 0.7:
        place = chance.randrange(len(plain))
        return [*plain[:place], _changed(chance, plain[place]), *plain[place + chance.randint(0, 1) :]]
    return chance.choice((*VALUES, {"worker": plain}, [plain], [plain, plain]))


MUTATIONS: tuple[Callable[[random.Random, bytes], bytes], ...] = (changed_bytes, changed_structure)


def write(folder: Path, seed: int) -> None:
    """Write a folder of mutated definitions; one in three has one other file that is mutated as well."""
    chance = random.Random(seed)
    files = {f"{'a/' * (number % 3)}m{number}.yml": chance.choice(MIRRORS) for number in range(PER_FOLDER)}
    files = {name: chance.choice(MUTATIONS)(chance, data) for name, data in files.items()}
    whole = dict(WHOLE)
    if chance.random() < 1 / 3:
        name = chance.choice(list(whole))
        whole[name] = chance.choice(MUTATIONS)(chance, whole[name])
    for name, data in (whole | files).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


@pytest.mark.parametrize("seed", some(range(400), 40))
def test_no_mutated_file_is_a_bug(tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, seed)
    form = sorted(SHOW)[seed // 40 % len(SHOW)]
    code = cli.main(["validate", str(tmp_path), "--format", form])
    printed = capsys.readouterr()
    assert code in (0, 1), printed.err
    assert [line for line in printed.err.splitlines() if not line.startswith(("INFO ", "WARNING "))] == []
    assert all(letter.isprintable() or letter == "\n" for letter in printed.out)
    if form in ("json", "gitlab", "sarif"):
        json.loads(printed.out)
    else:
        assert printed.out.endswith(" valid\n")


def test_there_are_as_many_mutated_files_as_the_release_needs() -> None:
    assert len(some(range(400), 40)) * PER_FOLDER == 10_000
