"""`skipjack add`: the file that it writes, and everything for which it writes nothing."""

import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.authoring import preset_files
from runner.cli import main
from schemas.config import catalogue, hints
from schemas.config.catalogue import Catalogue
from schemas.config.sources import read_directory
from schemas.units import parse_duration

UPSTREAM = "rsync://rsync.example.org/x/"
SITE = "title: Example\ncategories: {os: x, images: x, software: x, archives: x}\n"
DEFAULTS = "provider: rsync\nworker: w1\n"
GIT = os.environ | {
    f"GIT_{who}_{what}": "x@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
}
OWN_FACTS = "title: CTAN\ndescription: {0.description}\nhomepage: {0.homepage}\n".format(preset_files.load("CTAN"))


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config repository with a worker and without a mirror, as the current folder."""
    folder = tmp_path / "repository"
    folder.mkdir()
    fill(folder, {"_site.yml": SITE, "_workers.yml": "workers: {w1: {}, w2: {}}\n", "_defaults.yml": DEFAULTS})
    monkeypatch.chdir(folder)
    return folder


def fill(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def add(name: str, *words: str, upstream: str = UPSTREAM) -> int:
    return main(["add", name, "--upstream", upstream, *words])


def loaded(folder: Path) -> Catalogue:
    return catalogue.load(read_directory(folder))


def content(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_each_preset_makes_a_definition_without_a_problem_or_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a repository as `skipjack init` writes it, beside its example."""
    assert main(["init", str(tmp_path / "new")]) == 0
    monkeypatch.chdir(tmp_path / "new")
    capsys.readouterr()
    for name in preset_files.names():
        assert add(name, upstream=f"rsync://rsync.example.org/{name}/") == 0
    assert capsys.readouterr().err == ""
    found = loaded(tmp_path / "new")
    assert (found.problems, found.warnings, found.passed_over) == ((), (), ())
    assert hints.of_mirrors(found.mirrors) == []
    mirrors = {mirror.name: mirror for mirror in found.mirrors if mirror.name != "example"}
    assert list(mirrors) == sorted(preset_files.names())
    for name, mirror in mirrors.items():
        preset = preset_files.load(name)
        facts = (preset.title, preset.description, preset.homepage, preset.category, preset.provider or "rsync")
        assert (mirror.title, mirror.description, mirror.homepage, mirror.category, mirror.provider) == facts
        assert bool(mirror.freshness) == bool(preset.freshness)
        assert not preset.interval or mirror.interval == parse_duration(preset.interval)


def test_the_file_has_the_keys_of_the_preset_in_their_usual_order(repository: Path) -> None:
    assert add("CTAN") == 0
    assert (repository / "CTAN.yml").read_text() == (
        f"{OWN_FACTS}category: archives\nupstream: {UPSTREAM}\ninterval: 1d\n"
    )


@pytest.mark.parametrize(
    ("defaults", "missing"),
    [
        ("category: archives\n", "category"),
        ("interval: 24h\n", "interval"),
        ("provider: rsync\n", "provider"),
        ("interval: 1d\nworker: {w1: {}, w2: {}}\n", "interval"),
    ],
)
def test_a_key_that_is_inherited_with_the_same_value_is_left_out(repository: Path, defaults: str, missing: str) -> None:
    fill(repository, {"sub/_defaults.yml": defaults})
    assert add("CTAN", "--into", "sub") == 0
    assert f"{missing}:" not in (repository / "sub/CTAN.yml").read_text()


@pytest.mark.parametrize(
    ("defaults", "expected"),
    [
        ("category: os\n", "category: archives"),
        ("interval: 2d\n", "interval: 1d"),
        ("cron: 0 4 * * *\n", "interval: 1d"),
        ("worker: {w1: {}, w2: {interval: 2d}}\n", "interval: 1d"),
        ("provider: command\ncommand: /bin/true\n", "provider: rsync"),
    ],
)
def test_a_key_that_is_inherited_with_another_value_is_written(repository: Path, defaults: str, expected: str) -> None:
    fill(repository, {"sub/_defaults.yml": defaults})
    assert add("CTAN", "--into", "sub") == 0
    assert expected in (repository / "sub/CTAN.yml").read_text().splitlines()


def test_files_that_an_inherited_key_names_are_known(repository: Path) -> None:
    fill(repository, {"_defaults.yml": f"{DEFAULTS}exclude_file: filters/all.txt\n", "filters/all.txt": "*.iso\n"})
    assert add("CTAN") == 0
    assert "provider:" not in (repository / "CTAN.yml").read_text()


def test_the_folder_is_the_outermost_whose_defaults_set_the_category(repository: Path) -> None:
    folders = {"a/b": "category: archives", "z": "category: archives", "c": "category: os"}
    fill(repository, {f"{folder}/_defaults.yml": f"{text}\n" for folder, text in folders.items()})
    assert add("CTAN") == add("debian") == add("tex", "--from", "CTAN", "--category", "software") == 0
    assert [path for path in ("z/CTAN.yml", "c/debian.yml", "tex.yml") if not (repository / path).exists()] == []


def test_a_new_folder_is_created_and_the_repository_is_found_from_below(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (repository / "deep/below").mkdir(parents=True)
    monkeypatch.chdir(repository / "deep/below")
    assert add("CTAN", "--into", "new/tex/") == 0
    assert "wrote ../../new/tex/CTAN.yml:" in capsys.readouterr().out
    monkeypatch.chdir("/")
    assert add("debian", "--repo", str(repository)) == 0
    assert [mirror.name for mirror in loaded(repository).mirrors] == ["CTAN", "debian"]


def test_the_first_line_leads_editors_to_the_schema_of_the_repository(repository: Path) -> None:
    fill(repository, {".skipjack/schemas/mirror.schema.json": "{}"})
    main(["add", "CTAN", "--upstream", UPSTREAM, "--into", "a/b"])
    schema = (repository / "a/b/CTAN.yml").read_text().splitlines()[0].partition("$schema=")[2]
    assert (repository / "a/b" / schema).resolve() == repository / ".skipjack/schemas/mirror.schema.json"


def test_the_only_worker_is_written_if_none_is_inherited(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(repository, {"_defaults.yml": "provider: rsync\n"})
    assert add("CTAN") == 1
    message = "cannot add `CTAN`: it inherits no worker. Name one with `--worker`: `w1`, `w2`."
    assert capsys.readouterr().err == f"ERROR skipjack: {message}\n"
    assert add("CTAN", "--worker", "w2") == 0
    fill(repository, {"_workers.yml": "workers: {w2: {}}\n"})
    assert add("debian") == 0
    assert [mirror.worker for mirror in loaded(repository).mirrors] == ["w2", "w2"]


def test_a_category_that_the_site_lacks_is_left_out(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(repository, {"_site.yml": "title: x\ncategories: {texts: x}\n"})
    assert add("CTAN") == 0
    assert capsys.readouterr().err == (
        "WARNING add: `_site.yml` has no category `archives`, so the definition names none. "
        "Choose one with `--category`: `texts`.\n"
    )
    assert loaded(repository).mirrors[0].category == ""
    assert add("debian", "--category", "texts") == 0
    assert loaded(repository).mirrors[1].category == "texts"


PRESET = """\
title: X
description: X.
homepage: https://x.example.org/
kind: archive
category: os
freshness: {file: "trace/{upstream_host}"}
sources: [{keys: [freshness], url: "https://x.example.org/", read: 2026-11-30}]
"""


@pytest.mark.parametrize(
    ("upstream", "file"),
    [
        ("rsync://Mirror.example.org:8873/x/", "trace/mirror.example.org"),
        ("mirror.example.org::x/", "trace/mirror.example.org"),
        ("rsync://192.0.2.7/x/", None),
        ("rsync://[2001:db8::7]/x/", None),
        ("mirror@mirror.example.org:/x/", None),
    ],
)
def test_a_timestamp_file_may_have_the_name_of_the_upstream_s_host(
    repository: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    upstream: str,
    file: str | None,
) -> None:
    preset = preset_files.from_yaml("x", PRESET.encode())
    monkeypatch.setattr(preset_files, "load", lambda _name: preset)
    assert add("x", upstream=upstream) == 0
    found = loaded(repository).mirrors[0].freshness
    assert (found and found.file) == file
    assert ("`freshness` is left out" in capsys.readouterr().err) == (file is None)


def test_the_rule_and_the_next_steps_are_printed(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (repository / "my folder").mkdir()
    assert add("CTAN", "--into", "my folder") == 0
    *_file, before, following, last = capsys.readouterr().out.splitlines()
    preset = preset_files.load("CTAN")
    assert before == f"Before you open a pull request: {preset.upstream_rule} ({preset.sources[0].url})"
    words = shlex.split(following.removeprefix("Next: "))
    assert words == ["git", "add", "my folder/CTAN.yml", "&&", "git", "commit", "-m", "Add CTAN"]
    assert last == "Then: skipjack plan HEAD~..HEAD"


def test_the_next_commands_work_in_a_shell(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the folder of the repository, from one below it, and from elsewhere."""
    subprocess.run("git init -q && git add . && git commit -qm start", shell=True, check=True, env=GIT)
    (repository / "it's").mkdir()
    for name, folder, words in [
        ("CTAN", repository, ["--into", "it's"]),
        ("gnu", repository / "it's", []),
        ("kde", Path("/"), ["--repo", str(repository)]),
    ]:
        monkeypatch.chdir(folder)
        assert add(name, *words) == 0
        following, last = capsys.readouterr().out.splitlines()[-2:]
        subprocess.run(following.removeprefix("Next: "), shell=True, check=True, env=GIT, capture_output=True)
        assert main(shlex.split(last.removeprefix("Then: skipjack "))) == 0
        assert f"+ {name}" in capsys.readouterr().out


HOSTILE = [
    ("../x", (), "`../x` is not a valid name"),
    ("x/y", (), "`x/y` is not a valid name"),
    ("_site", (), "`_site` is not a valid name"),
    ("\u202ektra", (), r"`\u202ektra` is not a valid name"),
    ("x" * 300, (), "is not a valid name"),
    ("a b", (), "`a b` is not a valid name"),
    ("\udc80", (), r"`\udc80` is not a valid name"),
    ("debain", (), "Did you mean `debian`?"),
    ("x", (), "there is no preset `x`. `skipjack presets` lists all of them;"),
    ("x", ("--from", "../presets/debian"), "there is no preset `../presets/debian`"),
    ("CTAN", ("--into", "../other"), "the folder `../other` is not inside the repository"),
    ("CTAN", ("--into", "/tmp"), "the folder `/tmp` is not inside the repository"),
    ("CTAN", ("--into", "a/../../b"), "is not inside the repository"),
    ("CTAN", ("--into", ".git/hooks"), "the folder `.git/hooks` is hidden"),
    ("CTAN", ("--into", "x" * 300), "is not a valid name of a new folder"),
    ("CTAN", ("--into", "a\u202eb"), r"`a\u202eb`"),
    ("CTAN", ("--into", "link"), "is a symbolic link"),
    ("CTAN", ("--into", "_site.yml"), "is not"),
    ("CTAN", ("--worker", "w3"), "the worker `w3` is not in `_workers.yml`. Known: `w1`, `w2`."),
    ("CTAN", ("--worker", "../w1"), '`worker` cannot be "../w1"'),
    ("CTAN", ("--category", "oss"), "the category `oss` is not in `_site.yml`. Did you mean `os`?"),
    ("CTAN", ("--repo", "/dev"), "/dev is not a config repository"),
]


@pytest.mark.parametrize(("name", "words", "message"), HOSTILE)
def test_hostile_words_get_one_clear_line_and_change_nothing(
    repository: Path, capsys: pytest.CaptureFixture[str], name: str, words: tuple[str, ...], message: str
) -> None:
    (repository / "link").symlink_to(repository.parent)
    rejected(repository, capsys, message, lambda: add(name, *words))


UPSTREAMS = [
    ("rsync://user:hunter2@rsync.example.org/x/", "contains a password"),
    ("https://user:hunter2@example.org/x/", "is not a valid rsync address"),
    ("rsync://rsync.example.org/x", "does not end with a slash"),
    ("rsync://rsync.example.org/a b/", "is not a valid rsync address"),
    ("rsync://rsync.example.org/\u202ex/", "is not a valid rsync address"),
    ("rsync://rsync.example.org/x\ny/", "is not a valid rsync address"),
    ("rsync://rsync.example.org/\udc80/", ""),
    ("/etc/", "is not a valid rsync address"),
    (f"rsync://rsync.example.org/{'x' * 3000}/", "2000"),
]


@pytest.mark.parametrize("option", ["--from", "--upstream", "--worker", "--category"])
def test_an_empty_value_is_wrong_usage(capsys: pytest.CaptureFixture[str], option: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        add("CTAN", option, "")
    assert f"argument {option}: the value is empty" in capsys.readouterr().err


@pytest.mark.parametrize(("upstream", "message"), UPSTREAMS)
def test_a_hostile_upstream_gets_one_clear_line_and_changes_nothing(
    repository: Path, capsys: pytest.CaptureFixture[str], upstream: str, message: str
) -> None:
    rejected(repository, capsys, message, lambda: add("CTAN", upstream=upstream))


def rejected(repository: Path, capsys: pytest.CaptureFixture[str], message: str, command: Callable[[], int]) -> None:
    before = content(repository)
    assert command() == 1
    printed = capsys.readouterr()
    [line] = printed.err.splitlines()
    assert message in line and line.isprintable() and len(line) < 400
    assert "hunter2" not in line and printed.out == ""
    assert content(repository) == before


@pytest.mark.parametrize("path", ["CTAN.yml", "sub/CTAN.yml", "ctan.yml"])
def test_a_mirror_that_exists_is_never_overwritten(
    repository: Path, capsys: pytest.CaptureFixture[str], path: str
) -> None:
    fill(repository, {path: f"upstream: {UPSTREAM}\n"})
    rejected(repository, capsys, f"cannot add `CTAN`: {path} exists already.", lambda: add("CTAN"))


def test_a_file_that_is_not_read_is_not_overwritten_either(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(repository / "CTAN.yml")
    rejected(repository, capsys, "CTAN.yml", lambda: add("CTAN"))


def test_problems_between_the_new_mirror_and_others_are_reported(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(repository, {"a.yml": f"upstream: {UPSTREAM}\nmirror_dir: /srv/x\n"})
    fill(repository, {"sub/_defaults.yml": "mirror_dir: /srv/x\n"})
    before = content(repository)
    assert add("CTAN", "--into", "sub") == 1
    assert "cannot add `CTAN`: " in capsys.readouterr().err
    assert content(repository) == before


def test_problems_of_other_files_do_not_prevent_a_new_mirror(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(repository, {"a.yml": "upstream: x\n"})
    assert add("CTAN") == 0
    assert capsys.readouterr().err == "WARNING add: other files have 1 problem: run `skipjack validate`\n"
    fill(repository, {"_site.yml": "titel: x\n"})
    before = content(repository)
    assert add("debian") == 1
    assert "_site.yml:1:1: " in capsys.readouterr().err
    assert content(repository) == before


def test_without_a_repository_the_command_names_one_that_is_near(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert add("CTAN") == 1
    assert "no config repository found" in capsys.readouterr().err
    fill(tmp_path / "mirrors", {"_site.yml": SITE})
    assert add("CTAN") == 1
    assert capsys.readouterr().err.endswith("Name it: `--repo mirrors`.\n")
