"""`skipjack init`: what it creates, where it refuses, and that it changes nothing then."""

import errno
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
import yaml

from runner.authoring import repository_files
from runner.authoring.repository_files import CI_FILES, FORGES, NONE, SiteFacts
from runner.cli import main
from schemas.config import catalogue, editor_schema, hints, plugin_search
from schemas.config.fragment_checks import checked
from schemas.config.plugin_search import Found, Installed
from schemas.config.sources import EDITOR_SCHEMAS, read_directory
from schemas.plugins import PROVIDER, Plugin
from tests.schemas.test_plugin_keys import GIT, GIT_FILE

Spoil: TypeAlias = Callable[[Path], str]
"""What makes a folder unusable, and returns what `init` prints about it."""


class WorkingFolder:
    """An empty working folder, and what commands in it print."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys

    def printed(self) -> tuple[str, str]:
        """What was printed since the last call, on standard output and standard error."""
        out, err = self._capsys.readouterr()
        return out, err


ROOT = Path(__file__).parents[2]


@pytest.fixture
def work(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> WorkingFolder:
    monkeypatch.chdir(tmp_path)
    return WorkingFolder(tmp_path, capsys)


def files(folder: Path) -> dict[str, str]:
    """The files of a folder, without those of git."""
    paths = (path for path in folder.rglob("*") if path.is_file() or path.is_symlink())
    found = {str(path.relative_to(folder)): path for path in paths}
    return {name: os.path.realpath(path) if path.is_symlink() else path.read_text() for name, path in found.items()
            if not name.startswith(".git/")}  # fmt: skip


def init(*words: str) -> int:
    return main(["init", *words])


@pytest.mark.parametrize("forge", FORGES)
def test_a_new_repository_is_valid_without_a_warning(work: WorkingFolder, forge: str) -> None:
    assert init("mirrors", "--ci", forge) == 0
    folder = work.folder / "mirrors"
    found = catalogue.load(read_directory(folder))
    assert [found.problems, found.passed_over, found.warnings] == [(), (), ()]
    assert (hints.of_mirrors(found.mirrors), len(found.mirrors)) == ([], 1)
    work.printed()
    assert main(["validate", "mirrors"]) == 0
    assert work.printed() == ("1 mirror is valid\n", "")
    named = {name for name in files(folder) if name.startswith((".github/", ".gitlab", ".forgejo/", "CODEOWNERS"))}
    assert len(named) == (0 if forge == NONE else 4)
    assert forge == NONE or CI_FILES[forge] in named


def test_each_file_names_its_schema_which_is_inside(work: WorkingFolder) -> None:
    init("a/b")
    for path in sorted((work.folder / "a/b").glob("*.yml")):
        kind = {"_site": "site", "_workers": "workers", "_defaults": "defaults"}.get(path.stem, "mirror")
        assert path.read_text().splitlines()[0] == f"# yaml-language-server: $schema={EDITOR_SCHEMAS[kind]}"
        assert (path.parent / EDITOR_SCHEMAS[kind]).read_text() == editor_schema.text(kind)
    named = json.loads((work.folder / "a/b/.vscode/settings.json").read_text())["yaml.schemas"]
    assert [path.removeprefix("./") for path in named] == [
        *map(EDITOR_SCHEMAS.get, ("site", "workers", "defaults", "mirror"))
    ]


@pytest.mark.parametrize("forge", [each for each in FORGES if each != NONE])
def test_the_files_of_a_forge_are_well_formed(forge: str) -> None:
    facts = SiteFacts("A: b #c", "UTC", "w1", "git+https://h.example/s@v9")
    for folder, count in ((".", 4), ("sites/my mirrors", 1)):
        made = repository_files.of_forge(facts, forge, folder)
        assert len(made) == count
        for path, text in made.items():
            assert "%{" not in text and text.endswith("\n")
            if path.endswith(".yml"):
                yaml.safe_load(text)
        check = made[CI_FILES[forge]]
        assert facts.source in check and "{{ secrets" not in check and "pull_request_target" not in check
        command = "skipjack validate" if folder == "." else "skipjack validate 'sites/my mirrors'"
        assert any(line.strip().startswith(command) for line in check.splitlines())
    if forge == "github":
        assert yaml.safe_load(check)["permissions"] == {"contents": "read"}


SHARED = {
    ("github", "git+https://github.com/a/skipjack.git@v1"): "a/skipjack/{}@v1",
    ("gitlab", "git+https://github.com/a/skipjack@0f"): "https://raw.githubusercontent.com/a/skipjack/0f/{}",
    ("gitlab", "git+https://gitlab.example.org/a/b/skipjack.git@v1"): "https://gitlab.example.org/a/b/skipjack/-/raw/v1/{}",
    ("forgejo", "git+https://code.example.org/a/skipjack@v1"): "https://code.example.org/a/skipjack/{}@v1",
}  # fmt: skip
"""How the jobs of a forge name the shared ones, by the source of Skipjack."""


@pytest.mark.parametrize(("forge", "source"), SHARED)
@pytest.mark.parametrize("folder", [".", "sites/my mirrors"])
def test_a_new_repository_uses_the_jobs_of_its_source(forge: str, source: str, folder: str) -> None:
    facts = SiteFacts("A", "UTC", "w1", source)
    made = repository_files.of_forge(facts, forge, folder)
    jobs = repository_files.job_files(facts, forge)
    assert len(jobs) == (1 if forge == "gitlab" else 2) and {*jobs} <= made.keys()
    for path in jobs:
        plain = yaml.safe_load(made[path])
        calls = plain["include"] if "include" in plain else [each for job in plain["jobs"].values()
                                                             for each in job.get("steps", [job])]  # fmt: skip
        [call] = calls
        begin, end = SHARED[forge, source].split("{}")
        name = call.get("uses") or call["remote"]
        assert name.startswith(begin) and name.endswith(end)
        shared = ROOT / name.removeprefix(begin).removesuffix(end)
        text = (shared / "action.yml" if shared.is_dir() else shared).read_text()
        given = call.get("with") or call["inputs"]
        assert given["source"] == source and all(f"  {key}:" in text for key in given)
        assert "path" not in given or given["path"] == folder
        assert len([line for line in made[path].splitlines() if line and not line.startswith("#")]) <= 16


@pytest.mark.parametrize(
    ("forge", "source"),
    [("github", "git+https://gitlab.example.org/a/skipjack@v1"), ("gitlab", "git+https://git.example.org/a/b@v1"),
     ("forgejo", "git+https://git.example.org/a/b/c@v1"), ("github", "git+https://github.com/a/b"),
     ("github", "git+https://github.com/a/b@v1#x"), ("github", "git+https://github.com.evil.example/a/b@v1"),
     ("github", "skipjack==1"), ("github", "git+https://github.com/a/b@v1\n  x: y")],
)  # fmt: skip
def test_another_source_has_no_shared_jobs(forge: str, source: str) -> None:
    assert repository_files.job_files(SiteFacts("A", "UTC", "w1", source), forge) == [CI_FILES[forge]]


def test_ci_fails_until_the_source_is_named(work: WorkingFolder) -> None:
    """The steps of the workflow, in a shell."""
    init("mirrors")
    text = (work.folder / "mirrors" / CI_FILES["github"]).read_text()
    [step] = [each for each in yaml.safe_load(text)["jobs"]["validate"]["steps"] if "SOURCE" in each.get("run", "")]
    env = {"PATH": os.environ["PATH"], "SKIPJACK_SOURCE": yaml.safe_load(text)["env"]["SKIPJACK_SOURCE"]}
    done = subprocess.run(["bash", "-e", "-c", step["run"]], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, "Set SKIPJACK_SOURCE" in done.stdout) == (1, True)
    assert "Set SKIPJACK_SOURCE" in work.printed()[0]


@pytest.mark.parametrize("user", ["me:hunter2", "hunter2", "me%3Ahunter2"])
def test_a_source_with_a_password_is_not_written_into_the_repository(
    work: WorkingFolder, capsys: pytest.CaptureFixture[str], user: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["init", "x", "--source", f"git+https://{user}@git.example.org/a/b@v1"])
    message = capsys.readouterr().err
    assert (ended.value.code, "must not have a user, token" in message, "hunter2" in message) == (2, True, False)
    assert not (work.folder / "x").exists()


def test_chosen_values_are_written_as_they_are(work: WorkingFolder) -> None:
    title = "Ünï: 'Mirrors' #1 on"
    words = ["--time-zone", "Asia/Tokyo", "--worker-name", "on", "--source", "git+https://h.example/s@v1"]
    init("x", "--title", title, *words)
    found = catalogue.load(read_directory(work.folder / "x"))
    assert (found.site.title, found.site.time_zone, [*found.workers]) == (title, "Asia/Tokyo", ["on"])
    assert "Set SKIPJACK_SOURCE" not in work.printed()[0]


def test_a_folder_outside_of_a_repository_becomes_one(work: WorkingFolder) -> None:
    init("x")
    head = (work.folder / "x/.git/HEAD").read_text()
    assert head == "ref: refs/heads/main\n"
    git = ["git", "-C", str(work.folder / "x"), "-c", "user.name=x", "-c", "user.email=x@x.example"]
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "Begin"], check=True)
    assert subprocess.run([*git, "status", "--short"], check=True, capture_output=True).stdout == b""


def test_a_folder_of_a_repository_gets_its_checks_at_the_top(work: WorkingFolder) -> None:
    (work.folder / ".git").mkdir()
    init("sites/mirrors")
    found = files(work.folder)
    assert not (work.folder / "sites/mirrors/.git").exists()
    assert [name for name in found if not name.startswith("sites/mirrors/")] == [".github/workflows/skipjack.yml"]
    assert "skipjack validate sites/mirrors" in found[".github/workflows/skipjack.yml"]
    assert "git -C . add sites/mirrors .github/workflows/skipjack.yml" in work.printed()[0]
    assert init("sites/mirrors/software") == 1
    assert "is a folder of the config repository" in work.printed()[1]


def test_files_that_exist_stay(work: WorkingFolder) -> None:
    (work.folder / ".github/workflows").mkdir(parents=True)
    own = {"README.md": "mine\n", ".editorconfig": "", "LICENSE": "x", "debian.yml": "upstream: rsync://h.example/d/\n"}
    own |= {".github/workflows/skipjack.yml": "on: push\n"}
    for name, text in own.items():
        (work.folder / name).write_text(text)
    (work.folder / ".vscode").mkdir()
    (work.folder / ".vscode/settings.json").symlink_to("nowhere")
    assert init("--worker-name", "w1") == 0
    found = files(work.folder)
    assert {name: found[name] for name in own} == own
    assert (work.folder / ".vscode/settings.json").is_symlink() and not (work.folder / ".vscode/nowhere").exists()
    printed = work.printed()[0]
    assert printed.count("(existed, not changed)") == 4
    assert "Let .github/workflows/skipjack.yml run `skipjack validate" in printed
    assert [mirror.name for mirror in catalogue.load(read_directory(work.folder)).mirrors] == ["debian", "example"]


def _a_config_repository(folder: Path) -> str:
    (folder / "_site.yml").write_text("title: Test\n")
    return "already is a config repository: it has `_site.yml`. `skipjack init --update` renews its schemas."


def _a_file_in_its_place(folder: Path) -> str:
    folder.rmdir()
    folder.write_text("x")
    return "is not a folder. Name another folder."


def _a_link(folder: Path) -> str:
    (folder.parent / "elsewhere").mkdir()
    folder.rmdir()
    folder.symlink_to("elsewhere")
    return "is a symbolic link to "


def _a_broken_link(folder: Path) -> str:
    folder.rmdir()
    folder.symlink_to("nowhere")
    return "is a symbolic link to "


def _a_folder_that_leads_out(folder: Path) -> str:
    (folder.parent / "elsewhere").mkdir()
    (folder / ".skipjack").symlink_to("../elsewhere")
    return "/.skipjack is a symbolic link, and links are not followed. Replace it by a folder, or remove it."


def _a_file_where_a_folder_belongs(folder: Path) -> str:
    (folder / ".github").write_text("x")
    return "/.github is not a folder. Move it away."


def _yaml_of_another_program(folder: Path) -> str:
    (folder / "docker-compose.yml").write_text("services: {web: {image: x}}\n")
    return "the files in it would be invalid as definitions of mirrors:\n"


@pytest.mark.parametrize(
    "spoil",
    [_a_config_repository, _a_file_in_its_place, _a_link, _a_broken_link, _a_folder_that_leads_out,
     _a_file_where_a_folder_belongs, _yaml_of_another_program],
)  # fmt: skip
def test_a_folder_that_cannot_be_used_stays_as_it_is(work: WorkingFolder, spoil: Spoil) -> None:
    folder = work.folder / "x"
    folder.mkdir()
    message = spoil(folder)
    before = files(work.folder)
    assert init("x") == 1
    assert message in work.printed()[1]
    assert files(work.folder) == before
    assert not (folder / ".git").exists()


@pytest.mark.parametrize("folder", ["/", "/usr/share", "~", "/etc/passwd/x", "/proc/skipjack-init"])
def test_a_folder_of_the_machine_is_refused(work: WorkingFolder, folder: str) -> None:
    assert init(str(Path(folder).expanduser())) == 1
    said = work.printed()[1]
    assert said.startswith("ERROR skipjack: ") and said.count("\n") == 1


@pytest.mark.parametrize("after", [0, 3, 14, 16])
def test_a_full_disk_leaves_nothing_behind(work: WorkingFolder, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    real, calls = os.fsync, []

    def fsync(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "x")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    (work.folder / "LICENSE").write_text("x")
    assert init("below/mirrors") == 1
    assert "No space left on device. Nothing was changed." in work.printed()[1]
    assert [path.name for path in work.folder.iterdir()] == ["LICENSE"]


@pytest.mark.parametrize(
    "words",
    [("--update", "--title", "x"), ("--settings", "x"), ("--worker", "--ci", "none"), ("--update", "--worker"),
     ("--time-zone", "Mars"), ("--worker-name", "a b"), ("--title", "a\nb"), ("--title", ""), ("--ci", "svn"),
     ("--manager", "--worker-name", "w1")],
)  # fmt: skip
def test_wrong_usage_is_refused(work: WorkingFolder, words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as raised:
        init(*words)
    assert raised.value.code == 2
    assert [*work.folder.iterdir()] == []


def test_update_renews_the_schemas_and_nothing_else(work: WorkingFolder) -> None:
    init()
    site, mirror = (work.folder / EDITOR_SCHEMAS[kind] for kind in ("site", "mirror"))
    before = files(work.folder)
    site.write_text(json.dumps(json.loads(site.read_text())))  # laid out by a formatter
    mirror.write_text("{}")
    (work.folder / EDITOR_SCHEMAS["workers"]).unlink()
    work.printed()
    assert main(["validate"]) == 0
    warned = "WARNING validate: .skipjack/schemas/mirror.schema.json differs from the schemas of this release. Update"
    assert work.printed()[1] == f"{warned} with `skipjack init --update`.\n"
    assert init("--update") == 0
    changed = [f"updated {EDITOR_SCHEMAS[kind]}" for kind in ("mirror", "workers")]
    assert work.printed()[0].splitlines() == changed
    after = files(work.folder)
    assert after.pop(EDITOR_SCHEMAS["site"]) != before.pop(EDITOR_SCHEMAS["site"])
    assert after == before
    assert (init("--update"), work.printed()[0]) == (0, "the schemas are up to date\n")


def test_update_adds_the_keys_of_plug_ins(work: WorkingFolder) -> None:
    init()
    (work.folder / GIT_FILE).write_text(json.dumps(GIT))
    work.printed()
    main(["validate"])
    assert "mirror.schema.json, .skipjack/schemas/defaults.schema.json, .skipjack/schemas/workers" in work.printed()[1]
    init("--update")
    assert "git" in json.loads((work.folder / EDITOR_SCHEMAS["mirror"]).read_text())["properties"]
    work.printed()
    assert main(["validate"]) == 0
    assert work.printed() == ("1 mirror is valid\n", "")


@pytest.mark.parametrize("there", [True, False])
def test_update_needs_a_config_repository(work: WorkingFolder, there: bool) -> None:
    if there:
        (work.folder / "x").mkdir()
    assert init("--update", "x") == 1
    assert "is not a config repository: it has no `_site.yml`." in work.printed()[1]
    assert files(work.folder) == {}


def test_update_changes_nothing_if_one_schema_cannot_be_written(work: WorkingFolder) -> None:
    init()
    first, last = (work.folder / EDITOR_SCHEMAS[kind] for kind in ("mirror", "workers"))
    first.write_text("{}")
    last.unlink()
    last.mkdir()
    assert init("--update") == 1
    assert "workers.schema.json is a folder. Move it away." in work.printed()[1]
    assert first.read_text() == "{}"


def test_update_never_writes_through_a_link(work: WorkingFolder) -> None:
    init("x")
    outside = work.folder / "outside.json"
    outside.write_text("{}")
    file = work.folder / "x" / EDITOR_SCHEMAS["site"]
    file.unlink()
    file.symlink_to(outside)
    assert init("--update", "x") == 0
    assert (outside.read_text(), file.is_symlink()) == ("{}", False)
    schemas = file.parent
    schemas.rename(work.folder / "away")
    schemas.symlink_to(work.folder / "away")
    assert init("--update", "x") == 1
    assert "schemas is a symbolic link, and links are not followed." in work.printed()[1]


def test_update_names_installed_plug_ins_that_the_repository_does_not_carry(
    work: WorkingFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files must not depend on the machine: two admins would change them back and forth."""
    found = Found(Plugin(PROVIDER, "git", "skipjack_git", "/opt", "1.0", "skipjack-git"), checked(PROVIDER, "git", GIT))
    init()
    monkeypatch.setattr(plugin_search, "installed", lambda: Installed((found,)))
    before = files(work.folder)
    work.printed()
    assert init("--update") == 0
    out, err = work.printed()
    assert out == "the schemas are up to date\n"
    assert f"write `skipjack schema git` to {GIT_FILE} and repeat this." in err
    assert files(work.folder) == before
    assert (main(["validate"]), work.printed()) == (0, ("1 mirror is valid\n", ""))


@pytest.mark.parametrize(
    ("origin", "forge"),
    [("git@gitlab.example.edu:a/b.git", "gitlab"), ("https://codeberg.org/a/gitlab.git", "forgejo"),
     ("ssh://git@forgejo.example.org:22/a/b", "forgejo"), ("https://github.com/a/b", "github"),
     ("/srv/gitlab.git", "github")],
)  # fmt: skip
def test_the_forge_is_recognized_by_the_remote_repository(work: WorkingFolder, origin: str, forge: str) -> None:
    subprocess.run(["git", "init", "-q", "."], check=True)
    subprocess.run(["git", "remote", "add", "origin", origin], check=True)
    init()
    assert [each for each, path in CI_FILES.items() if (work.folder / path).exists()] == [forge]


def test_a_folder_inside_definitions_without_git_is_refused(work: WorkingFolder) -> None:
    (work.folder / "_workers.yml").write_text("workers: {w1: {}}\n")
    assert init("software") == 1
    assert "software is a folder of the config repository" in work.printed()[1]
    assert [path.name for path in work.folder.iterdir()] == ["_workers.yml"]
