"""Pattern files of the repository: which lines they may have, and where each problem is reported."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from schemas.config import catalogue
from schemas.config.catalogue import Catalogue
from schemas.config.repository_patterns import MOST_BYTES, MOST_LINES, file_problems
from schemas.config.sources import SourceFile, pattern_files_of, read_directory
from schemas.git.repository import fetch
from schemas.mirror_record import MOST_PATTERN_BYTES
from tests.schemas.kit import BASE, lines

from .conftest import Origin

PATH = "filters/debian.txt"


def excluded(folder: Path, content: bytes, *names: str) -> set[str]:
    """The names that a real rsync leaves out with this file, of a folder with these empty files."""
    source, target, rules = folder / "source", folder / "target", folder / "rules"
    for each in (source, target):
        shutil.rmtree(each, ignore_errors=True)
        each.mkdir()
    for name in names:
        (source / name).touch()
    rules.write_bytes(content)
    words = ["rsync", "-r", f"--exclude-from={rules}", f"{source}/", f"{target}/"]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    assert not done.stderr
    return set(names) - {path.name for path in target.iterdir()}


NAMES = ("a.iso", "b.iso", "merge", "._x", "-e", "R_x", "# x", "é", "x y", "-", "C")

GOOD = {
    b"": set(),
    b"*.iso\n": {"a.iso", "b.iso"},
    b"*.iso": {"a.iso", "b.iso"},
    b"# *.iso\n; *.iso\n\n- *.iso\n": {"a.iso", "b.iso"},
    b"#\t*.iso\r\n\r\n+ a.iso\r\n*.iso\r\n": {"b.iso"},
    b"+ a.iso\r- *.iso\r": {"b.iso"},
    b"merge\n._*\n-e\n": {"merge", "._x", "-e"},
    b"R_x\nC\n-\n": {"R_x", "C", "-"},
    "é\nx y\n".encode(): {"é", "x y"},
    b"[ab].iso\n\\# x\n": {"a.iso", "b.iso"},
    b"x" * MOST_BYTES: set(),
    b"- # x\n": {"# x"},
    b"a.iso\n" * MOST_LINES: {"a.iso"},
}  # fmt: skip


@pytest.mark.parametrize("content", GOOD, ids=range(len(GOOD)))
def test_an_allowed_file_means_to_rsync_what_its_author_means(tmp_path: Path, content: bytes) -> None:
    assert lines(file_problems(PATH, content)) == []
    assert excluded(tmp_path, content, *NAMES) == GOOD[content]


BAD = {
    b"*.iso\nmerge /etc/passwd\n": "2:1: `merge /etc/passwd` is a filter rule of another kind",
    b". /etc/passwd": "1:1: `. /etc/passwd` is a filter rule of another kind",
    b": .rsync-filter": "1:1: `: .rsync-filter` is a filter rule of another kind",
    b".e /etc/passwd": "1:1: `.e /etc/passwd` is a filter rule of another kind",
    b"dir-merge,- .x": "1:1: `dir-merge,- .x` is a filter rule of another kind",
    b"exclude x": "1:1: `exclude x` is a filter rule of another kind",
    b"P x": "1:1: `P x` is a filter rule of another kind",
    b"-s x": "1:1: `-s x` is a filter rule of another kind",
    b"-,p x": "1:1: `-,p x` is a filter rule of another kind",
    b"+C x": "1:1: `+C x` is a filter rule of another kind",
    b"*.iso\n!\n": "2:1: `!` would remove all rules before it",
    b"- \n": "1:3: The line has no pattern.",
    b"  \n": "1:1: The line has no pattern.",
    b"+  x\n": "1:3: A blank begins the pattern",
    b"x \n": "1:2: A blank ends the line",
    b"x\0y\n": "1:2: The line contains the character U+0000",
    b"# x\0y\n": "1:4: The line contains the character U+0000",
    b"\tx\n": "1:1: The line contains the character U+0009",
    "x\n\u202egpj.x\n".encode(): "2:1: The line contains the character U+202E",
    b"\xef\xbb\xbf*.iso\n": "1:1: The file begins with a byte order mark",
    b"x\r\n\xc3\xa9\xe9\n": "2:2: The file is not valid UTF-8.",
    b"y" * (MOST_BYTES + 1): f"1:1: The line has more than {MOST_BYTES} bytes.",
    b"a\n" * (MOST_LINES + 1): f"{MOST_LINES + 1}:1: The file has more than {MOST_LINES} lines.",
    b"a\n" * 100_000: "1:1: The file is larger than 64 KiB.",
}


@pytest.mark.parametrize("content", BAD, ids=range(len(BAD)))
def test_a_file_with_other_lines_is_rejected_with_the_place(content: bytes) -> None:
    (problem,) = lines(file_problems(PATH, content))
    assert problem.startswith(f"{PATH}:{BAD[content]}")


@pytest.mark.parametrize(
    ("content", "name"), [(b"merge /etc/passwd", "merge /etc/passwd"), (b"\xef\xbb\xbfa.iso", "a.iso"), (b"x ", "x")]
)
def test_rsync_would_take_such_a_line_for_another_name(tmp_path: Path, content: bytes, name: str) -> None:
    """The reason for these rules: rsync reads no file for such a line, and excludes nothing that its author means."""
    assert excluded(tmp_path, content, Path(name).name) == set()


def load(files: Mapping[str, str | bytes | None]) -> Catalogue:
    """Load the base with some files, of which those in `filters` have patterns; None makes a symbolic link."""
    found = [
        SourceFile(path, data.encode() if isinstance(data, str) else data, has_patterns=path.startswith("filters/"))
        for path, data in {**BASE, **files}.items()
    ]
    return catalogue.load(found)


def test_a_broken_file_quarantines_only_the_mirrors_that_use_it() -> None:
    files = {
        "a.yml": f"exclude_file: {PATH}\n", "b.yml": f"retry: 1\nexclude_file: {PATH}\n", "c.yml": "",
        "d.yml": "exclude_file: filters/good\n", "filters/good": "*.iso\n", PATH: "*.iso\n\n. /etc/passwd\n",
        "e.yml": f"worker: {{w1: {{}}, w2: {{exclude_file: {PATH}}}}}\n",
    }  # fmt: skip

    found = load(files)

    assert {each.name: each.exclude_file for each in found.mirrors} == {"c": None, "d": "filters/good"}
    assert found.quarantined == {"a", "b", "e"}
    rule = "`. /etc/passwd` is a filter rule of another kind; this file may contain only patterns."
    todo = "Write a pattern, `- PATTERN` or `+ PATTERN`."
    why = f"The pattern file `{PATH}` cannot be used, see line 3: {rule} {todo}"
    assert lines(found.problems) == [
        f"a.yml:1:15: {why}", f"b.yml:2:15: {why}", f"e.yml:1:37: {why}", f"{PATH}:3:1: {rule} {todo}",
    ]  # fmt: skip
    assert found.is_elsewhere("a.yml", "w2")
    assert not found.is_elsewhere(PATH, "w2")


def test_the_problems_of_a_file_are_those_of_its_workers() -> None:
    found = load({"a.yml": f"exclude_file: {PATH}\n", PATH: "!\n"})
    assert found.is_elsewhere(PATH, "w2") and not found.is_elsewhere(PATH, "w1")


def test_of_many_problems_the_first_ones_are_reported() -> None:
    found = load({"a.yml": f"exclude_file: {PATH}\n", PATH: "!\n" * 500})
    assert len(found.problems) == 1 + 20 + 1
    assert str(found.problems[-1]) == f"{PATH}:21:1: The file has 480 more problems. Correct them."


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("filters/missing", "a.yml:1:15: `exclude_file` names `filters/missing`, but the repository has no such file."),
        ("filters/link", "a.yml:1:15: `exclude_file` names `filters/link`, which is a symbolic link."),
        ("a.yml", "a.yml:1:15: `exclude_file` names `a.yml`, which is a file of definitions."),
        ("filters/b.YAML", "a.yml:1:15: `exclude_file` names `filters/b.YAML`, which is a file of definitions."),
        ("../filters/x", 'a.yml:1:15: `exclude_file` cannot be "../filters/x".'),
        ("filters/../x", 'a.yml:1:15: `exclude_file` cannot be "filters/../x".'),
        (".git/config", 'a.yml:1:15: `exclude_file` cannot be ".git/config".'),
        (".skipjack/schemas/x", 'a.yml:1:15: `exclude_file` cannot be ".skipjack/schemas/x".'),
        ("filters/.x", 'a.yml:1:15: `exclude_file` cannot be "filters/.x".'),
        ("filters//x", 'a.yml:1:15: `exclude_file` cannot be "filters//x".'),
        ("-e", 'a.yml:1:15: `exclude_file` cannot be "-e".'),
        ("'filters/a b'", 'a.yml:1:15: `exclude_file` cannot be "filters/a b".'),
        ('"filters/\u202ex"', "a.yml:1:15: `exclude_file` cannot be \"filters/\\u202ex\"."),
        ("\"filters/a'b\"", "a.yml:1:15: `exclude_file` cannot be \"filters/a'b\"."),
        ('"filters/x\\n"', 'a.yml:1:15: `exclude_file` cannot be "filters/x\\n".'),
        ("filters/x:y", 'a.yml:1:15: `exclude_file` cannot be "filters/x:y".'),
    ],
)  # fmt: skip
def test_a_path_that_names_no_pattern_file_is_a_problem_of_the_mirror(path: str, why: str) -> None:
    found = load({"a.yml": f"exclude_file: {path}\n", "b.yml": "", "filters/link": None, "filters/x": "x"})
    assert found.quarantined == {"a"}
    (problem,) = found.problems
    assert str(problem).startswith(why)


def test_an_option_with_which_rsync_would_read_the_file_otherwise_is_a_problem() -> None:
    text = "exclude_file: filters/x\nrsync_options: [-0z]\n"
    files = {
        "a.yml": text, "b.yml": f"{text}rsync_options_extra: [--no-from0]\n", "filters/x": "x\n",
        "c.yml": text.replace("filters/x", "/etc/skipjack/filters/x"),
    }  # fmt: skip
    found = load(files)
    assert lines(found.problems) == [
        "a.yml:2:16: With `--from0` in `rsync_options` rsync takes all of the file `filters/x` as one pattern."
        " Remove that option."
    ]


def test_each_spelling_of_a_name_is_found_with_the_files_that_have_it() -> None:
    texts = {
        "a.yml": "exclude_file: filters/a # why\n", "b.yml": "worker: {w1: {'exclude_file': \"filters/b\"}}\n",
        "_defaults.yml": "exclude_file:\n  filters/a\n", "c.yml": "exclude_file: /etc/x\n# exclude_file : filters/c\n",
        "d.yml": "exclude_file: .git/config\n", "e.yml": "exclude_file: a.yml\n",
    }  # fmt: skip
    found = pattern_files_of(SourceFile(path, text.encode()) for path, text in texts.items())
    expected = {"filters/a": {"a.yml", "_defaults.yml"}, "filters/b": {"b.yml"}, "filters/c": {"c.yml"}}
    assert {path: set(files) for path, files in found.items()} == expected


def test_only_files_that_are_named_are_read_from_a_folder(tmp_path: Path) -> None:
    (tmp_path / "filters").mkdir()
    (tmp_path / "linked").symlink_to("filters")
    (tmp_path / "filters/link").symlink_to("/etc/passwd")
    (tmp_path / "filters/secret").write_text("not named")
    (tmp_path / "filters/large").write_bytes(b"x" * 1_000_000)
    names = ("filters/link", "linked/secret", "filters", "filters/large", "gone")
    (tmp_path / "a.yml").write_text("".join(f"# exclude_file: {name}\n" for name in names))

    found = [each for each in read_directory(tmp_path) if each.has_patterns]

    assert [each.path for each in found] == ["filters/large", "filters/link"]
    assert (len(found[0].data or b""), found[1].data) == (MOST_PATTERN_BYTES + 1, None)


def test_a_pattern_file_that_looks_like_configuration_gets_no_warning_that_it_is_not_read(tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text("*.iso\n")
    (tmp_path / "a.yml").write_text("exclude_file: a.json\n")
    found = {each.path: (each.has_patterns, each.passed_over) for each in read_directory(tmp_path)}
    assert found == {"a.json": (True, False), "a.yml": (False, False), "b.json": (False, True)}


def test_files_are_read_from_git_without_following_anything(origin: Origin) -> None:
    """Links, submodules, folders and two names that differ only in case; a large file is read to its limit only."""
    names = ("link", "linked/x", "sub", "folder", "X", "x", "gone", "large")
    text = "".join(f"# exclude_file: filters/{name}\n" for name in names)
    folder = origin.work / "filters"
    (folder / "folder").mkdir(parents=True)
    (folder / "link").symlink_to("/etc/passwd")
    (folder / "linked").symlink_to("folder")
    contents = {"folder/x": "in a folder", "X": "upper", "x": "lower", "unnamed": "z", "large": "y" * 1_000_000}
    for name, content in contents.items():
        (folder / name).write_text(content)
    (origin.work / "debian.yml").write_text(text)
    origin.git("add", "--all")
    head = origin.git("rev-parse", "HEAD")
    origin.git("update-index", "--add", "--cacheinfo", f"160000,{head},filters/sub")
    origin.git("commit", "-q", "-m", "Add pattern files")

    found = {each.path: each for each in fetch(origin.record, origin.checkout).files if each.has_patterns}

    assert sorted(found) == ["filters/X", "filters/large", "filters/link", "filters/x"]
    assert found["filters/link"].data is None
    assert len(found["filters/large"].data or b"") == MOST_PATTERN_BYTES + 1
    for name in ("X", "x"):
        each = found[f"filters/{name}"]
        assert each.blob == origin.git("rev-parse", f"HEAD:filters/{name}")
        assert each.data == contents[name].encode()
