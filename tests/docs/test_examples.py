"""Every example in the documents is taken by what reads such a file, and denied by no policy; a block that no test here
knows fails."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.base.mirror_paths import paths_of
from runner.policy.policy import violations
from schemas.config import catalogue
from schemas.config.catalogue import Catalogue
from schemas.config.repository_patterns import file_problems
from schemas.config.schema_set import schema
from schemas.config.settings import load_manager, load_policy, load_runner
from schemas.config.sources import SourceFile, read_directory
from schemas.records import Policy, Repository, RunnerSettings
from schemas.report import RunProgress

from .pages import PAGES, ROOT, Block, blocks

LOADERS = {"runner": load_runner, "manager": load_manager, "policy": load_policy}
LACKING = {"runner": {"worker": "w1", "repository": {"url": "https://git.example.org/mirrors.git"}}}
"""What an example leaves out that shows some keys of a file alone."""

FOLDER = "mirrors/"
DEFAULTS = "worker: alpha\nprovider: rsync\nupstream: rsync://rsync.example.org/all/\n"
"""What a mirror inherits on pages that show mirrors and no whole repository."""

CONTINUED = {("docs/containers.md", "docker_volumes: ['{directory}:/data', '{log_dir}:/log']")}
"""Examples that add keys to the first mirror of their page."""

PICTURES = {
    ("README.md", "pull request → "),
    ("docs/architecture.md", "pull request ─► config repository (git)"),
    ("docs/architecture.md", "mirrors/   "),
}
"""How the drawings of the pages begin: there is nothing to run."""

SESSIONS = {
    ("README.md", "$ skipjack validate mirrors"): "test_the_session_of_the_readme_is_what_validate_prints",
    ("mirrors/README.md", "$ skipjack validate mirrors"): "test_the_example_repository_is_valid",
    ("docs/pull-requests.md", "$ skipjack plan main..topic"): "tests/runner/test_plan_page.py",
    ("runner/authoring/templates/readme.md", "$ skipjack validate"): "tests/runner/test_init.py",
    ("runner/authoring/templates/readme.md", "$ skipjack plan main"): "tests/e2e/test_init.py",
    ("docs/scheduling.md", "$ skipjack next"): "tests/docs/test_next_table.py",
    ("docs/from-tunasync.md", "$ skipjack import tunasync "): "tests/system/test_migration.py",
    ("docs/from-yuki.md", "$ skipjack import yuki "): "tests/runner/test_yuki_import.py",
    ("docs/from-tunasync.md", "$ skipjack takeover "): "tests/e2e/test_takeover.py",
    ("docs/configuration.md", "FILE:LINE:COLUMN: "): "test_the_problem_of_the_page_is_printed_like_that",
    ("docs/configuration.md", "# a comment; "): "test_the_pattern_file_of_the_page_is_valid",
    ("mirrors/README.md", "$ skipjack add mariadb "): "test_the_session_in_the_example_repository_writes_a_definition",
    ("runner/authoring/templates/readme.md", "$ skipjack add debian "): "tests/runner/test_add.py",
    ("docs/configuration.md", "$ skipjack add gnu "): "test_the_session_with_a_preset_is_what_add_prints",
    ("docs/configuration.md", "_site.yml  "): "test_the_folder_of_the_page_contains_the_listed_files",
}
"""How the blocks of another kind begin, and the test that is for each."""

SCHEMAS = {
    name: json.loads((ROOT / f"schemas/files/{name}.schema.json").read_text())["properties"].keys()
    for name in ("mirror", "policy", "runner", "manager")
}


JOB = r"# (\.github/workflows/|\.forgejo/workflows/|\.gitlab-ci)\S+"
"""How the files of a forge begin, which tests/docs/test_job_examples.py reads."""


def kind_of(block: Block) -> str:
    """What reads an example: the name of a file of the repository, or `runner`, `manager` or `policy`; `mirror` for
    some keys of one, `job` for jobs of a forge, `rules` for rules of Prometheus. A block that is nothing of that is
    an error."""
    if re.fullmatch(JOB, block.first):
        return "job"
    if named := re.fullmatch(r"# (\S+\.yml)", block.first):
        kind = Path(named[1]).stem
        return kind if kind in LOADERS else named[1]
    plain = yaml.safe_load(block.text)
    if isinstance(plain, list) and all("alert" in each for each in plain):
        return "rules"
    for kind, keys in SCHEMAS.items():
        if isinstance(plain, dict) and plain.keys() <= keys:
            return kind
    raise AssertionError(f"{block}: nothing reads an example with these keys: {block.text}")


def examples(*kinds: str) -> list[Block]:
    return [block for page in PAGES for block in blocks(page, "yaml") if kind_of(block) in kinds]


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    for page in PAGES:
        for block in blocks(page):
            known = block.language in ("sh", "json", "sql", "nginx", "toml") or is_listed(block)
            assert known or (block.language == "yaml" and kind_of(block)), f"{block}: no test knows this block"


def is_listed(block: Block) -> bool:
    listed = [*PICTURES, *SESSIONS]
    return any(page == block.page and block.first.startswith(begin) for page, begin in listed)


def test_toml_examples_parse_and_name_files_that_exist() -> None:
    texts = [block.text for page in PAGES for block in blocks(page, "toml")]
    assert texts and all(map(tomllib.loads, texts))
    named = re.findall(r"\b(?:runner|schemas|sitegen|tests)/[\w./]+", " ".join(texts))
    assert named and [path for path in named if not (ROOT / path).exists()] == []


def test_each_listed_block_and_test_exists() -> None:
    there = [block for page in PAGES for block in blocks(page)]
    for page, begin in [*PICTURES, *SESSIONS, *CONTINUED]:
        assert any(page == block.page and block.first.startswith(begin) for block in there), (page, begin)
    source = Path(__file__).read_text("utf-8")
    assert [test for test in SESSIONS.values() if f"def {test}(" not in source and not (ROOT / test).exists()] == []


@pytest.mark.parametrize("text", ["frobnicate: 1\n", "- one\n", "interval: 6h\nlisten: x\n"])
def test_an_example_that_nothing_reads_would_be_seen(text: str) -> None:
    with pytest.raises(AssertionError, match="nothing reads"):
        kind_of(Block("x.md", 1, "yaml", text))


@pytest.mark.parametrize("block", examples(*LOADERS), ids=str)
def test_settings_can_be_loaded(tmp_path: Path, block: Block) -> None:
    kind = kind_of(block)
    plain = yaml.safe_load(block.text)
    lacking = {key: value for key, value in LACKING.get(kind, {}).items() if key not in plain}
    path = tmp_path / f"{kind}.yml"
    path.write_text(f"{yaml.safe_dump(lacking) if lacking else ''}{block.text}\n")
    LOADERS[kind](path)


def mirrors_of(page: str) -> Catalogue:
    """The repository that a page shows, or its mirrors in one like the example's."""
    shown = blocks(page, "yaml")
    files = {
        kind_of(block): block.text for block in shown if kind_of(block) not in {*LOADERS, "mirror", "rules", "job"}
    }
    pieces = [block for block in shown if kind_of(block) == "mirror"]
    for number, block in enumerate(pieces):
        first = yaml.safe_load(pieces[0].text) if (page, block.first) in CONTINUED else {}
        files[f"pieces/piece-{number}.yml"] = yaml.safe_dump(first | yaml.safe_load(block.text))
    example = {name: (ROOT / FOLDER / name).read_text() for name in ("_site.yml", "_workers.yml")}
    there = read_directory(ROOT / FOLDER)
    patterns = [file for file in there if file.has_patterns]
    if page == "README.md":
        example = {file.path: file.data.decode() for file in there if file.data and file not in patterns}
    base = {"pieces/_defaults.yml": DEFAULTS} | ({} if "_site.yml" in files else {"_defaults.yml": DEFAULTS} | example)
    return catalogue.load([*(SourceFile(name, text.encode()) for name, text in (base | files).items()), *patterns])


def policy_of(page: str, folder: Path) -> Policy:
    """The policy that a page shows, else the default one."""
    path = folder / "policy.yml"
    path.write_text("\n".join(block.text for block in blocks(page, "yaml") if kind_of(block) == "policy"))
    return load_policy(path) if path.read_text() else Policy()


def pages_with_mirrors() -> Iterator[str]:
    for page in PAGES:
        kinds = {kind_of(block) for block in blocks(page, "yaml")} - {*LOADERS, "rules", "job"}
        if kinds:
            yield page


@pytest.mark.parametrize("page", list(pages_with_mirrors()))
def test_mirrors_are_valid_and_the_policy_lets_them_run(page: str, tmp_path: Path) -> None:
    found = mirrors_of(page)
    assert [str(problem) for problem in found.problems] == []
    policy = policy_of(page, tmp_path)
    for mirror in found.mirrors:
        settings = RunnerSettings(mirror.worker, Repository("https://git.example.org/mirrors.git"))
        denied = list(violations(mirror, paths_of(mirror, settings, policy), settings, policy))
        assert denied == [], f"{page}: {mirror.name}"


def test_the_pattern_file_of_the_page_is_valid() -> None:
    (block,) = (block for block in blocks("docs/configuration.md") if block.first.startswith("# a comment; "))
    assert list(file_problems("filters/debian.txt", block.text.encode())) == []


@pytest.mark.parametrize("block", [block for page in PAGES for block in blocks(page, "json")], ids=str)
def test_json_examples_parse_and_have_the_keys_of_real_documents(block: Block) -> None:
    plain = json.loads(f"{{{block.text}}}" if block.text.startswith('"') else block.text)
    assert plain["progress"].keys() == {*RunProgress._fields} - {"mirror"}


@pytest.mark.parametrize("block", examples("rules"), ids=str)
def test_rules_for_alerts_name_figures_and_causes_that_there_are(block: Block) -> None:
    metrics = (ROOT / "sitegen/web/metrics.py").read_text("utf-8")
    for rule in yaml.safe_load(block.text):
        names = re.findall(r"\bskipjack_(?:mirror_)?(\w+)", rule["expr"])
        assert names and all(f'"{name}"' in metrics for name in names), rule
        for values in re.findall(r'cause!?[=~]+"([^"]+)"', rule["expr"]):
            assert {*values.split("|")} <= {*schema("api")["$defs"]["mirror"]["properties"]["cause"]["enum"]}, rule


def skipjack(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("skipjack")), *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def session(page: str) -> Block:
    [block] = [block for block in blocks(page) if is_listed(block) and block.first.startswith("$")]
    return block


def test_the_example_repository_is_valid() -> None:
    done = skipjack("validate", "mirrors", cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.endswith(" are valid\n")


def test_the_session_of_the_readme_is_what_validate_prints(tmp_path: Path) -> None:
    """The mistyped name is where the message says; the number is different, since every mirror inherits the name."""
    shutil.copytree(ROOT / FOLDER, tmp_path / "mirrors")
    _command, problem, summary = session("README.md").text.splitlines()
    path = tmp_path / "mirrors/_defaults.yml"
    path.write_text(path.read_text().replace("worker: alpha", "worker: alhpa"))
    done = skipjack("validate", "mirrors", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout.splitlines()[0] == problem
    assert re.sub(r"\d+", "N", done.stdout.splitlines()[1]) == re.sub(r"\d+", "N", summary)


def test_the_problem_of_the_page_is_printed_like_that(tmp_path: Path) -> None:
    [block] = [each for each in blocks("docs/configuration.md") if each.first.startswith("FILE:LINE")]
    expected = block.text.splitlines()[1]
    folder = tmp_path / "mirrors"
    folder.mkdir()
    for name, text in {"_site.yml": "title: x\n", "_workers.yml": "workers: {w1: {}}\n"}.items():
        (folder / name).write_text(text)
    line, column = map(int, re.findall(r":(\d+):(\d+):", expected)[0])
    above = "worker: w1\nprovider: rsync\nupstream: rsync://rsync.example.org/debian/\n"
    (folder / "debian.yml").write_text(f"{above}interval:{' ' * (column - len('interval:') - 1)}6\n")
    assert above.count("\n") == line - 1
    assert expected in skipjack("validate", "mirrors", cwd=tmp_path).stdout.splitlines()


def test_the_session_with_a_preset_is_what_add_prints(tmp_path: Path) -> None:
    for block in blocks("docs/configuration.md", "yaml"):
        if block.first in ("# _site.yml", "# _workers.yml"):
            (tmp_path / block.first.removeprefix("# ")).write_text(f"{block.text}\n")
    command, *printed = session("docs/configuration.md").text.splitlines()
    done = skipjack(*shlex.split(command)[2:], cwd=tmp_path)
    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (0, printed, "")


def test_the_session_in_the_example_repository_writes_a_definition(tmp_path: Path) -> None:
    shutil.copytree(ROOT / FOLDER, tmp_path / "mirrors")
    [command] = [block.text for block in blocks("mirrors/README.md") if block.first.startswith("$ skipjack add ")]
    done = skipjack(*shlex.split(command)[2:], cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "") and "wrote mirrors/software/mariadb.yml" in done.stdout
    assert skipjack("validate", "mirrors", cwd=tmp_path).returncode == 0


def test_the_folder_of_the_page_contains_the_listed_files() -> None:
    [block] = [each for each in blocks("docs/configuration.md") if each.first.startswith("_site.yml")]
    shown = {line.split()[0] for line in block.text.splitlines()}
    there: set[Any] = {kind_of(each) for each in blocks("docs/configuration.md", "yaml")} | {
        "software/",
        "_defaults.yml",
    }
    assert shown <= there
