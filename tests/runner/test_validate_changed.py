"""`skipjack validate --changed-since`: what a check of everything finds, without what the change cannot break."""

import json
import random
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from runner import cli
from runner.checking import judging, work_tree
from runner.checking.findings import CheckResult
from schemas.config import exported_policy
from schemas.config.schema_set import OWN
from schemas.problems import Problem
from schemas.records import Policy, Repository, RunnerSettings
from tests.cases import some

IDENTITY = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")

NAMES = ("debian", "ubuntu", "Fedora", "gnu", "CTAN", "arch", "alpine", "kali", "mint", "old1", "old2", "linux")
FOLDERS = ("", "os/", "os/rpm/", "linux/", "deep/er/")
WORKERS = "workers:\n  w1: {}\n  w2:\n    defaults: {btrfs_snapshot: true}\n"

SETTINGS = RunnerSettings("w1", Repository("https://git.example.org/mirrors.git"), mirror_root="/srv/mirror")
POLICY = exported_policy.as_plain(exported_policy.exported(SETTINGS, Policy(readable=("/srv",)), "0.1.0"))


def git(where: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(where), *IDENTITY, *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(where: Path) -> str:
    git(where, "add", "--all", "--force")
    git(where, "commit", "--quiet", "--allow-empty", "--message=x")
    return git(where, "rev-parse", "HEAD")


def write(folder: Path, path: str, text: str) -> None:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(text)


class Author:
    """Writes definitions that often collide, and edits them."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.chance = folder, random.Random(seed)
        write(folder, "_site.yml", "title: T\ncategories: {os: Systems}\n")
        write(folder, "_workers.yml", WORKERS)
        write(folder, "_defaults.yml", "provider: rsync\nworker: w1\nupstream: rsync://up.example.org/all/\n")
        write(folder, "filters/a.txt", "*.iso\n")
        if self.chance.random() < 0.5:
            write(folder, ".skipjack/policies/w1.yml", json.dumps(POLICY))
        for name in self.chance.sample(NAMES, 9):
            write(folder, self._path(name), self._definition())
        for below in self.chance.sample(FOLDERS[1:], self.chance.randint(0, 2)):
            write(folder, f"{below}_defaults.yml", self._defaults())

    def edit(self) -> None:
        """Change the folder in one way."""
        files = sorted(path for path in self.folder.rglob("[!_]*.yml") if ".skipjack" not in path.parts)
        kind = self.chance.choice(("key", "key", "key", "add", "remove", "move", "rename", "defaults", "other"))
        one = self.chance.choice(files) if files else self.folder / "debian.yml"
        if kind == "key":
            write(self.folder, str(one.relative_to(self.folder)), self._definition())
        elif kind == "add":
            write(self.folder, self._path(self.chance.choice(NAMES)), self._definition())
        elif kind == "remove":
            one.unlink(missing_ok=True)
        elif kind in ("move", "rename") and files:
            name = one.stem if kind == "move" else self.chance.choice(NAMES)
            write(self.folder, self._path(name), one.read_text())
            one.unlink() if self.chance.random() < 0.8 else None
        elif kind == "defaults":
            path = self.folder / self.chance.choice(FOLDERS[1:]) / "_defaults.yml"
            if path.exists() and self.chance.random() < 0.4:
                path.unlink()
            else:
                write(self.folder, str(path.relative_to(self.folder)), self._defaults())
        else:
            write(self.folder, *self._other())

    def _path(self, name: str) -> str:
        ending = self.chance.choice((".yml",) * 12 + (".yaml", ".YML"))
        return f"{self.chance.choice(FOLDERS)}{name}{ending}"

    def _other(self) -> tuple[str, str]:
        return self.chance.choice((
            ("README.md", "after: [debian]\n"),
            ("filters/a.txt", self.chance.choice(("*.iso\n", "merge /etc/passwd\n", ". x\n"))),
            ("lost.ymal", "mirror_dir: /srv/x\n"),
            (".hidden/debian.yml", "mirror_dir: /srv/x\n"),
            ("os/_strange.yml", "title: x\n"),
            ("broken.yml", "title: [\n"),
        ))  # fmt: skip

    def _defaults(self) -> str:
        return self.chance.choice((
            "interval: 12h\n", "mirror_subdir: linux\n", "mirror_subdir: pub\n", "after: [debian]\n", "worker: w2\n",
            "worker: {w1: {}, w2: {mirror_subdir: gnu}}\n", "interval: 5\n", "log_dir: /var/log/x\n", "jitter: [\n",
            "exclude_file: filters/a.txt\n", "title: [x]\n",
        ))  # fmt: skip

    def _definition(self) -> str:
        lines = self.chance.sample(self._lines(), self.chance.randint(0, 3))
        return "".join(f"{line}\n" for line in {line.partition(":")[0]: line for line in lines}.values())

    def _lines(self) -> list[str]:
        some_name, other = self.chance.choice(NAMES), self.chance.choice(NAMES)
        place = self.chance.choice(
            ("/srv/a", "/srv/a/b", f"/srv/a/{some_name}", f"/srv/{other}", "/srv/A", "/srv/a//b/")
        )
        return [
            f"title: {some_name}",
            f"after: [{some_name}]",
            f"after:\n  - {some_name}\n  # and\n  - {other}",
            f"after:\n- {some_name}\n- {other}",
            f"formerly: [{some_name}, {other}]",
            f'formerly: ["{some_name}"]',
            f'"form\\x65rly": [{some_name}]',
            f"mirror_dir: {place}",
            f"mirror_dir:\n  {place}",
            f"mirror_dir: {place}\n  more",
            f'mirror_dir: "{place}" # here',
            f"log_dir: {place}",
            f"snapshot_path: {place}\nbtrfs_snapshot: true",
            f"mirror_subdir: {some_name}",
            f"mirror_subdir: {some_name}/{other}",
            f"worker: {self.chance.choice(('w1', 'w2', '[w1, w2]', 'w3'))}",
            f"worker: {{w1: {{mirror_dir: {place}}}, w2: {{}}}}",
            f"worker:\n  w1:\n    mirror_dir: {place}\n  w2:\n    log_dir: {place}",
            f"description: &k formerly\n*k : [{some_name}]",
            f"? mirror_dir\n: {place}",
            f"description: it comes after {some_name}",
            f"username: a\npassword: {{file: {place}/{some_name}/secret}}",
            f"username: a\npassword:\n  file: /srv/mirror/{some_name}/secret",
            "docker_image: debian:12",
            "exclude_file: filters/a.txt",
            "exclude_file: filters/gone.txt",
            "interval: 5",
            "rsync_options: [-a, -v]",
            "category: nope",
        ]


def found(folder: Path) -> CheckResult:
    return judging.judged_folder(folder, judging.CheckRules(OWN))


def all_of(result: CheckResult) -> set[Problem]:
    return {*result.problems, *result.warnings, *result.moves}


def changed_files(old: Path, new: Path) -> set[str]:
    """Files that differ between two copies of a folder, found by comparing their bytes."""
    before, after = (
        {
            str(path.relative_to(top)): path.read_bytes()
            for path in top.rglob("*")
            if path.is_file() and ".git" not in path.parts
        }
        for top in (old, new)
    )
    return {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}


def depends_on(path: str, changed: Iterable[str]) -> bool:
    """Whether a file has changed or inherits from a changed one."""
    folders = [each.removesuffix("_defaults.yml") for each in changed if each.rpartition("/")[2] == "_defaults.yml"]
    return path in changed or path.startswith(tuple(folders))


@pytest.mark.parametrize("seed", some(range(400), 40))
@pytest.mark.parametrize("below", ["", "mirrors"])
def test_the_findings_are_those_of_a_check_of_everything_that_the_change_affects(
    tmp_path: Path, seed: int, below: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # With few objects git's index is searched, else the files.
    monkeypatch.setattr(work_tree, "_LOOSE", 8 if below else -1)
    folder = tmp_path / "new" / below
    author = Author(folder, seed)
    git(tmp_path / "new", "init", "--quiet", "--initial-branch=main")
    base = commit(tmp_path / "new")
    subprocess.run(["cp", "-a", str(tmp_path / "new"), str(tmp_path / "old")], check=True)
    for number in range(author.chance.randint(1, 3)):
        author.edit()
        if number and author.chance.random() < 0.5:
            commit(tmp_path / "new")
    before, after = found(tmp_path / "old" / below), found(folder)
    changed = changed_files(tmp_path / "old" / below, folder)
    names_pattern = {
        str(path.relative_to(folder))
        for path in folder.rglob("*.y*ml")
        if "filters/a.txt" in changed and "filters/a.txt" in path.read_text()
    }
    affected = {*changed, *names_pattern}
    monkeypatch.chdir(tmp_path)
    code = cli.main(["validate", str(folder), "--changed-since", base, "--json"])
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    problems = {(each["file"], each["line"], each["column"], each["what"], each["todo"]) for each in result["problems"]}
    old = {(each.file, each.what) for each in all_of(before)}
    everything = {each[:5] for each in after.problems}
    new = {each for each in everything if (each[0], each[3]) not in old}
    assert problems <= everything
    assert new <= problems, "what the change breaks"
    assert {each for each in everything if depends_on(each[0], affected)} <= problems, "what it touches"
    left = {each for each in problems - new if not depends_on(each[0], affected)}
    names = {"_site.yml", "_workers.yml", "filters/a.txt", "filters/gone.txt"}
    assert {each[0] for each in left if not each[0].endswith("_defaults.yml")} <= names, "nothing else"
    valid = {name for name, file in after.files.items() if depends_on(file, affected)}
    assert set(result["mirrors"]) == valid
    assert code == bool(problems)
    warnings = {each.what for each in after.warnings}
    assert set(result["warnings"]) <= warnings
    assert {each.what for each in after.warnings if depends_on(each.file, affected)} <= set(result["warnings"])


GOOD = "worker: w1\nprovider: rsync\nupstream: rsync://up.example.org/a/\n"
BAD = f"{GOOD}interval: 5\n"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a broken mirror, whose branch `main` has one commit."""
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    write(tmp_path, "_site.yml", "title: T\n")
    write(tmp_path, "_workers.yml", "workers: {w1: {}}\n")
    write(tmp_path, "old.yml", BAD)
    commit(tmp_path)
    return tmp_path


def wrong_files(capsys: pytest.CaptureFixture[str], folder: Path, since: str) -> list[str]:
    """The files of the problems, each once."""
    code = cli.main(["validate", str(folder), "--changed-since", since, "--json"])
    printed = capsys.readouterr()
    assert printed.err == ""
    found = sorted({each["file"] for each in json.loads(printed.out)["problems"]})
    assert code == bool(found)
    return found


def test_only_the_change_of_the_branch_counts_committed_or_not(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert wrong_files(capsys, repository, "HEAD") == []
    git(repository, "switch", "--quiet", "--create", "mine")
    write(repository, "committed.yml", BAD)
    commit(repository)
    git(repository, "switch", "--quiet", "main")
    write(repository, "theirs.yml", BAD)
    commit(repository)
    git(repository, "switch", "--quiet", "mine")
    write(repository, "staged.yml", BAD)
    git(repository, "add", "staged.yml")
    write(repository, "untracked.yml", BAD)
    write(repository, ".gitignore", "ignored.yml\n")
    write(repository, "ignored.yml", BAD)
    assert wrong_files(capsys, repository, "main") == [
        "committed.yml", "ignored.yml", "staged.yml", "untracked.yml",
    ]  # fmt: skip
    assert wrong_files(capsys, repository, "HEAD") == ["ignored.yml", "staged.yml", "untracked.yml"]


def test_a_merge_commit_of_ci_is_compared_with_the_target_of_the_pull_request(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    git(repository, "switch", "--quiet", "--create", "mine")
    write(repository, "mine.yml", BAD)
    commit(repository)
    git(repository, "switch", "--quiet", "main")
    write(repository, "theirs.yml", BAD)
    commit(repository)
    git(repository, "switch", "--quiet", "--detach")
    git(repository, "merge", "--quiet", "--no-edit", "mine")
    assert wrong_files(capsys, repository, "main") == ["mine.yml"]


def test_histories_that_were_merged_both_ways_can_be_compared(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    git(repository, "switch", "--quiet", "--create", "mine")
    write(repository, "mine.yml", GOOD)
    mine = commit(repository)
    git(repository, "switch", "--quiet", "main")
    write(repository, "theirs.yml", GOOD)
    commit(repository)
    git(repository, "merge", "--quiet", "--no-edit", mine)
    git(repository, "switch", "--quiet", "mine")
    git(repository, "merge", "--quiet", "--no-edit", "main~1")
    write(repository, "new.yml", BAD)
    commit(repository)
    assert wrong_files(capsys, repository, "main") == ["new.yml"]


@pytest.mark.parametrize("file", ["_site.yml", "_workers.yml", ".skipjack/schemas/x.hook.schema.json"])
def test_a_file_for_all_mirrors_affects_all(repository: Path, file: str, capsys: pytest.CaptureFixture[str]) -> None:
    place = repository / file
    write(repository, file, (place.read_text() if place.exists() else "{") + "# a comment\n")
    assert "old.yml" in wrong_files(capsys, repository, "HEAD")


def test_a_broken_file_above_an_affected_mirror_is_reported(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(repository, "os/_defaults.yml", "jitter: [\n")
    commit(repository)
    write(repository, "os/new.yml", GOOD)
    assert wrong_files(capsys, repository, "HEAD") == ["os/_defaults.yml"]


def test_names_that_are_not_text_and_links_are_compared(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (repository / "b\udcff.yml").write_text(GOOD)
    (repository / "line\nbreak.yml").write_text(GOOD)
    (repository / "link.yml").symlink_to("old.yml")
    (repository / "[a-z]*.yml").write_text(GOOD)
    assert len(wrong_files(capsys, repository, "HEAD")) == 4
    commit(repository)
    assert wrong_files(capsys, repository, "HEAD") == []
    assert len(wrong_files(capsys, repository, "HEAD~1")) == 4
    (repository / "link.yml").unlink()
    write(repository, "link.yml", GOOD)
    assert wrong_files(capsys, repository, "HEAD") == []


def test_variables_of_git_and_a_hook_lead_to_no_other_repository(
    repository: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    other = tmp_path_factory.mktemp("other")
    git(other, "init", "--quiet")
    write(repository, "new.yml", BAD)
    for name, value in {"GIT_DIR": ".git", "GIT_INDEX_FILE": "index", "GIT_WORK_TREE": "."}.items():
        monkeypatch.setenv(name, str(other / value))
    assert wrong_files(capsys, repository, "HEAD") == ["new.yml"]


def test_no_program_that_a_setting_or_an_attribute_names_is_started(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mark = repository / "started"
    for key in ("core.fsmonitor", "diff.external", "diff.evil.command", "diff.evil.textconv", "core.pager"):
        git(repository, "config", key, f"touch {mark}; false")
    write(repository, ".gitattributes", "*.yml diff=evil\n")
    write(repository, "old.yml", BAD + "\n")
    assert wrong_files(capsys, repository, "HEAD") == ["old.yml"]
    assert not mark.exists()


def test_the_repository_of_another_user_is_read_only_where_git_may(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its settings could name programs. The variable stands for another owner: changing one takes root."""
    variables = {"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1", "GIT_CONFIG_GLOBAL": str(repository / "global")}
    monkeypatch.setattr(work_tree, "_ENVIRONMENT", work_tree._ENVIRONMENT | variables)
    line = told(capsys, repository, "HEAD")
    assert "belongs to another user" in line and f"safe.directory {repository}" in line
    (repository / "global").write_text(f"[safe]\n\tdirectory = {repository}\n")
    (repository / ".gitignore").write_text("global\n")
    assert wrong_files(capsys, repository, "HEAD") == []


def told(capsys: pytest.CaptureFixture[str], folder: Path, since: str) -> str:
    """The one line of an error."""
    assert cli.main(["validate", str(folder), "--changed-since", since]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    [line] = printed.err.splitlines()
    return line


def test_a_revision_that_is_missing_is_one_line(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = told(capsys, repository, "origin/main")
    assert "this clone has no revision `origin/main`." in line and "`fetch-depth: 0`" in line


def test_a_shallow_clone_is_one_line(
    repository: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    git(repository, "switch", "--quiet", "--create", "mine")
    write(repository, "mine.yml", GOOD)
    commit(repository)
    clone = tmp_path_factory.mktemp("clones") / "clone"
    url = f"file://{repository}"
    git(repository, "clone", "--quiet", "--depth=1", "--branch=mine", url, str(clone))
    assert "this clone has no revision `origin/main`." in told(capsys, clone, "origin/main")
    git(repository, "switch", "--quiet", "main")
    write(repository, "theirs.yml", GOOD)
    commit(repository)
    git(clone, "fetch", "--quiet", "--depth=1", "origin", "main:refs/remotes/origin/main")
    line = told(capsys, clone, "origin/main")
    assert "no common history of `origin/main` and the work tree" in line and "`fetch-depth: 0`" in line
    git(clone, "fetch", "--quiet", "--unshallow", "origin")
    assert wrong_files(capsys, clone, "origin/main") == []


def test_a_history_of_another_repository_is_one_line(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    git(repository, "switch", "--quiet", "--orphan", "other")
    git(repository, "commit", "--quiet", "--allow-empty", "--message=x")
    git(repository, "switch", "--quiet", "main")
    line = told(capsys, repository, "other")
    assert "no common history" in line and "fetch-depth" not in line


def test_a_name_of_something_else_than_a_commit_is_one_line(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("HEAD:old.yml", "HEAD^{tree}"):
        assert f"`{name}`" in told(capsys, repository, name)


def test_a_folder_without_a_repository_and_one_without_commits_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "_site.yml", "title: T\n")
    assert "is not in a git repository" in told(capsys, tmp_path, "main")
    git(tmp_path, "init", "--quiet")
    assert "`main`" in told(capsys, tmp_path, "main")
    (tmp_path / ".git/HEAD").unlink()
    assert "git" in told(capsys, tmp_path, "main")


@pytest.mark.parametrize("name", ["", "main..HEAD", "main...HEAD", "a\nb", "--output=/tmp/x"])
def test_a_range_or_an_option_is_wrong_usage(repository: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_code:
        cli.main(["validate", str(repository), f"--changed-since={name}"])
    assert exit_code.value.code == 2
    assert "one revision" in capsys.readouterr().err
