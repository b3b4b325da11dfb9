"""The jobs for config repositories: an untrusted pull request tries to read secrets, to run code and to mislead."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.authoring import repository_files
from runner.authoring.repository_files import SiteFacts
from tests.e2e.forge_jobs import (
    FORGEJO,
    GITHUB,
    GITLAB,
    ROOT,
    JobRunner,
    JobStep,
    checkout,
    git,
    gitlab_job,
    install,
    steps_of,
)
from tests.e2e.hostile_pull_request import Attack, begin
from tests.runner.conftest import serve as serve
from tests.runner.fake_forge import COMMIT, TOKEN, FakeGitea, FakeGitHub, FakeGitLab
from tests.runner.scripted_manager import Serve
from tests.runner.test_forge_plan_text import assert_harmless
from tests.shared import made_once

SECRET = "canary-5f0c9d1e"


@pytest.fixture(scope="module")
def attack(tmp_path_factory: pytest.TempPathFactory) -> Attack:
    tree = made_once(tmp_path_factory, "forge-attack", begin) / "tree"
    return Attack(tree, git(tree, "rev-parse", "main"), git(tree, "rev-parse", "refs/pull/1/head"))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, attack: Attack) -> Path:
    made = made_once(tmp_path_factory, "forge-jobs", lambda folder: install(folder / "install", attack.origin))
    return made / "install/temp/venv"


@pytest.fixture
def runner(tmp_path: Path, installed: Path) -> Iterator[JobRunner]:
    """A machine of a forge; at the end nothing of the pull request has run, and no output has a secret."""
    made = JobRunner(tmp_path / "machine", installed)
    made.environment |= {"CANARY": SECRET, "INSTALLED": str(installed)}
    (made.home / "secret.yml").write_text(f"{SECRET}: 1\n")
    (made.home / "target").write_text("untouched\n")
    yield made
    assert not list((tmp_path / "machine").rglob("pwned")) and "PWNED" not in made.printed
    assert (made.home / "target").read_text() == "untouched\n"
    written = [made.printed, *(path.read_text() for path in (made.summary, made.outputs) if path.exists())]
    written += [path.read_text() for path in made.temp.rglob("*.md") if not path.is_symlink()]
    assert not any(SECRET in text or TOKEN in text or "root:x:0" in text for text in written)


def named(path: Path, name: str) -> JobStep:
    [step] = [each for each in steps_of(path) if each.name == name]
    return step


COMMAND = re.compile(r"^\s*::|##\[|##vso\[", re.M)


def test_an_untrusted_pull_request_on_github(runner: JobRunner, attack: Attack) -> None:
    """Both workflows: that without secrets, and that with a token, which gets the artifact of the first one."""
    checkout(runner, attack.origin, "refs/pull/1/merge")
    values = {"inputs.path": ".", "inputs.live": "http://127.0.0.1:1"}
    assert runner.run(named(GITHUB / "config-check.yml", "Plan"), values) == 1, "a definition is not valid"
    plan = (runner.temp / "plan.md").read_text()
    assert plan.startswith("<!-- skipjack plan -->\n**Invalid:**") and "+ good: " in plan
    assert "Without the facts of the running site:" in plan and "127.0.0.1" in plan
    assert_harmless(plan)
    assert runner.summary.read_text() == plan
    assert not COMMAND.search(runner.printed), "only files have the plan"
    assert runner.run(named(GITHUB / "config-check.yml", "Check the definitions"), values) == 1
    commands = [line for line in runner.printed.splitlines() if COMMAND.match(line)]
    assert commands and all(re.match(r"::(error|warning) file=[^:]*,line=\d+", line) for line in commands)
    assert any("leak.yml" in line for line in commands)

    (runner.temp / "artifact").mkdir()
    (runner.temp / "plan.md").rename(runner.temp / "artifact/plan.md")
    with FakeGitHub() as forge:
        forge.pull(7, attack.head)
        assert runner.run(*commenting(forge, attack.head)) == 0, runner.printed
        assert forge.texts(7) == [plan]
        forge.files[7].append(".github/workflows/mirrors.yml")
        (runner.temp / "artifact/plan.md").write_text("@everyone merge this\n")
        assert runner.run(*commenting(forge, attack.head)) == 0
        [text] = forge.texts(7)
        assert "changes the checks" in text and "```text\n@everyone merge this\n```" in text
        (runner.temp / "artifact/plan.md").unlink()
        (runner.temp / "artifact/plan.md").symlink_to(runner.home / "secret.yml")
        assert runner.run(*commenting(forge, attack.head)) == 1
        assert forge.texts(7) == [text]


def commenting(forge: FakeGitHub, head: str) -> tuple[JobStep, dict[str, str]]:
    step = named(GITHUB / "config-comment.yml", "Renew the comment")
    where = {"GITHUB_API_URL": forge.api, "GITHUB_REPOSITORY": "site/mirrors"}
    values = {"github.event.workflow_run.head_sha": head, "github.event.repository.default_branch": "main"}
    return step._replace(variables={**step.variables, **where}), values | {"github.token": TOKEN}


def test_an_untrusted_merge_request_on_gitlab(runner: JobRunner, attack: Attack) -> None:
    (runner.temp / "venv").unlink()  # each job has a new folder; pip is not asked again
    checkout(runner, attack.origin, "refs/merge-requests/1/head")
    assert runner.run(*of_gitlab("skipjack check")) == 1
    found = json.loads((runner.work / "gl-code-quality-report.json").read_text())
    assert any(each["location"]["path"] == "leak.yml" for each in found)
    git(runner.work, "checkout", "-q", "--detach", "--force", attack.base)
    with FakeGitLab() as forge:
        forge.pull(1, attack.head)
        forge.pull(2, "d" * 40)
        where = {
            "CI_API_V4_URL": forge.api, "CI_PROJECT_ID": "site/mirrors", "CI_DEFAULT_BRANCH": "main",
            "CI_COMMIT_SHA": attack.base, "SKIPJACK_FORGE_TOKEN": TOKEN,
        }  # fmt: skip
        step, values = of_gitlab("skipjack comment")
        assert runner.run(step, values, **where) == 0, runner.printed
        [text] = forge.texts(1)
        assert "+ good" in text and forge.texts(2) == []
        assert_harmless(text)
        assert "Merge request 2 has no plan" in runner.printed


def of_gitlab(name: str) -> tuple[JobStep, dict[str, str]]:
    """Return a job, with a virtual environment that is there already in the place of a new one."""
    step = gitlab_job(name, {"source": "x"})
    return step._replace(script=with_venv(step.script)), {}


def with_venv(script: str) -> str:
    found, count = re.subn(r"(?m)^ *python3? -I -m venv .*\n.*-m pip install .*$", LINK, script)
    assert count == 1
    return found


LINK = 'ln -s "$INSTALLED" "$temp/venv"'


def test_an_untrusted_pull_request_on_forgejo(runner: JobRunner, attack: Attack) -> None:
    checkout(runner, attack.origin, "refs/pull/1/head")
    values = {"steps.install.outputs.temp": str(runner.temp), "inputs.path": ".", "github.base_ref": "main"}
    values |= {"inputs.live": ""}
    [_install, check] = steps_of(FORGEJO / "check/action.yml")
    assert runner.run(check, values) == 1
    assert "+ good" in runner.printed and "leak.yml" in runner.printed
    assert not COMMAND.search(runner.printed)
    git(runner.work, "checkout", "-q", "--detach", "--force", attack.base)
    with FakeGitea() as forge:
        forge.pull(1, attack.head)
        [_install, comment] = steps_of(FORGEJO / "comment/action.yml")
        where = {"GITHUB_API_URL": forge.api, "GITHUB_REPOSITORY": "site/mirrors"}
        values |= {"github.ref_name": "main", "inputs.token": TOKEN}
        assert runner.run(comment, values, **where) == 0, runner.printed
        [text] = forge.texts(1)
        assert "+ good" in text
        assert_harmless(text)


@pytest.mark.parametrize(("file", "kind"), [(GITHUB / "config-applied.yml", FakeGitHub),
                                            (FORGEJO / "applied/action.yml", FakeGitea)])  # fmt: skip
def test_the_job_after_a_merge(runner: JobRunner, serve: Serve, file: Path, kind: type[FakeGitHub]) -> None:
    workers = [{"name": f"w{number}", "revision": COMMIT, "silent": False, "version": "1"} for number in range(3)]
    status = json.dumps({"workers": workers, "refused_revision": None, "refusal": None}).encode()
    site = serve(lambda *_words: (200, status))
    values = {
        "inputs.site": site.url, "inputs.wait": "1m", "github.sha": COMMIT, "github.token": TOKEN,
        "inputs.token": TOKEN, "steps.install.outputs.temp": str(runner.temp),
    }  # fmt: skip
    with kind() as forge:
        where = {"GITHUB_API_URL": forge.api, "GITHUB_REPOSITORY": "site/mirrors"}
        assert runner.run(steps_of(file)[-1], values, **where) == 0, runner.printed
        [(commit, body)] = forge.statuses
    assert (commit, body["state"], body["description"]) == (COMMIT, "success", "applied on 3 of 3 workers")


def test_a_job_without_a_source_says_what_is_missing(runner: JobRunner) -> None:
    (runner.temp / "venv").unlink()
    for file in sorted(GITHUB.glob("config-*.yml")):
        assert runner.run(named(file, "Install Skipjack"), {"inputs.source": ""}) == 1
    assert runner.printed.count("::error::Set `source`") == 3
    assert not (runner.temp / "venv").exists()


WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
ACTIONS = sorted(FORGEJO.glob("*/action.yml"))
REUSABLE = [path for path in WORKFLOWS if path.name.startswith("config-")]
PERMISSIONS = {
    "ci.yml": {"contents": "read"},
    "config-check.yml": {"contents": "read"},
    "config-comment.yml": {"actions": "read", "pull-requests": "write"},
    "config-applied.yml": {"contents": "read", "statuses": "write"},
}


def every_step(plain: Any) -> list[dict[str, Any]]:
    if "runs" in plain:
        return list(plain["runs"]["steps"])
    return [step for job in plain["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("path", [*WORKFLOWS, *ACTIONS], ids=lambda path: f"{path.parent.name}/{path.name}")
def test_workflows_are_safe(path: Path) -> None:
    text, plain = path.read_text(), yaml.safe_load(path.read_text())
    assert "pull_request_target" not in text and "secrets" not in re.sub("#.*", "", text)
    for step in every_step(plain):
        assert "${{" not in step.get("run", ""), "an expression in a script is text of others in a program"
        if "uses" in step:
            assert re.fullmatch(r"(https://github\.com/)?actions/[\w-]+@[0-9a-f]{40}", step["uses"])
        if "/checkout@" in step.get("uses", "") and path.parent.name != "comment":
            assert step["with"]["persist-credentials"] is False
    if path in WORKFLOWS:
        assert plain["permissions"] == PERMISSIONS[path.name]
        assert not any("permissions" in job for job in plain["jobs"].values())


@pytest.mark.parametrize("forge", ["github", "forgejo"])
@pytest.mark.parametrize("source", ["", "git+https://github.com/a/b@v1"], ids=["own", "shared"])
def test_workflows_of_new_repositories_are_safe(forge: str, source: str) -> None:
    made = repository_files.of_forge(SiteFacts("A", "UTC", "w1", source), forge, ".")
    for path in repository_files.job_files(SiteFacts("A", "UTC", "w1", source), forge):
        plain = yaml.safe_load(made[path])
        assert "pull_request_target" not in made[path] and "{{ secrets" not in made[path]
        [job] = plain["jobs"].values()
        steps = job.get("steps", [])
        assert not any("${{" in step.get("run", "") for step in steps)
        names = [step.get("name") or step["uses"].partition("@")[0] for step in steps]
        if "actions/checkout" in names:
            assert names.index("Install Skipjack") < names.index("actions/checkout")
            assert steps[names.index("actions/checkout")]["with"]["persist-credentials"] is False
        if forge == "github":
            granted = plain.get("permissions") or job["permissions"]
            used = Path(job.get("uses", "config-check.yml").partition("@")[0]).name
            assert granted == PERMISSIONS[used]


@pytest.mark.parametrize("path", REUSABLE, ids=lambda path: path.name)
def test_skipjack_is_installed_before_anything_else_and_isolated(path: Path) -> None:
    plain = yaml.safe_load(path.read_text())
    [job] = plain["jobs"].values()
    order = [step.get("name") or step["uses"].partition("@")[0] for step in job["steps"]]
    assert order[:2] == ["actions/setup-python", "Install Skipjack"]
    source = plain[True]["workflow_call"]["inputs"]["source"]
    assert source["required"] is True and "default" not in source


@pytest.mark.parametrize("path", [*REUSABLE, *ACTIONS, GITLAB], ids=lambda path: f"{path.parent.name}/{path.name}")
def test_each_start_of_python_is_isolated(path: Path) -> None:
    """`-I`: neither the current folder nor a variable adds a place to import from."""
    text = re.sub(r"(?m)^\s*#.*$|description: .*$", "", path.read_text())
    starts = re.findall(r"(?:\bpython3?|bin/python\")\s+(\S+)", text)
    assert len(starts) >= 2 and set(starts) == {"-I"}
    assert not re.search(r"https?://(?!github\.com/actions/)", text), "no host is named but that of the actions"


def test_the_token_of_gitlab_is_never_in_a_job_of_a_merge_request() -> None:
    jobs = yaml.safe_load(GITLAB.read_text().split("\n---\n")[1])
    for name in ("skipjack comment", "skipjack applied"):
        assert all("$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH" in rule["if"] for rule in jobs[name]["rules"])
    assert "TOKEN" not in json.dumps(jobs["skipjack check"]) + json.dumps(jobs[".skipjack"])
