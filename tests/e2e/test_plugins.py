"""Plug-ins in an environment of their own: from an installed distribution to files on disk and a line on the page."""

import json
import re
import shutil
from pathlib import Path

import pytest

from runner.plan import plan
from tests import prepared
from tests.e2e.parts import BIN, PATIENCE, ConfigRepository, Manager, Worker, wait_until
from tests.e2e.plugin_parts import EXAMPLE, Environment, GitDaemon, PluginWorker, git

SCHEMAS = ".skipjack/schemas"
FRAGMENT = (EXAMPLE / "skipjack_git/git.schema.json").read_text()
ANNOUNCE = (EXAMPLE / "skipjack_git/announce.schema.json").read_text()
COMMAND = "provider: command\nupstream: https://x.example/\ncommand: touch synced\n"

PROBE = '''\
"""A provider that writes down what its run has loaded."""

import sys

from runner.plugin_api import Command


def commands(job):
    with open(f"{job.directory}/modules", "w") as file:
        file.write("\\n".join(sys.modules))
    yield Command(("true",), {}, job.directory)
'''

BROKEN = {
    "syntax": ("def commands(job:\n", "SyntaxError"),
    "missing": ("import no_such_dependency\n", "No module named 'no_such_dependency'"),
    "exits": ("import os\nos._exit(0)\n", ""),
    "hangs": ("import time\ntime.sleep(3600)\n", "10"),
    "shapeless": ("x = 1\n", "commands"),
}
"""Modules of providers that cannot be used, each with what the reason must name."""


@pytest.fixture
def own(tmp_path: Path) -> Environment:
    """An environment for one test, without plug-ins."""
    return Environment(tmp_path / "venv")


def worker_of(environment: Environment, folder: Path, repository: ConfigRepository) -> PluginWorker:
    worker = PluginWorker(folder, "w1", repository.url)
    worker.environment = environment
    return worker


def project(source: GitDaemon, more: str = "") -> str:
    return f"provider: git\nupstream: {source.url('project')}\nmeasure_size: false\n{more}"


def said(worker: Worker, command: str, *words: str) -> str:
    done = worker.command(command, *words, check=False)
    return done.stdout + done.stderr


def planned(worker: Worker) -> set[str]:
    with plan.opened(f"{worker.state}/plan.db") as opened:
        return {mirror.name for mirror in opened.due()}


def validated(tree: Path, environment: Environment | None = None) -> str:
    """What `validate` says in an environment with plug-ins, or in ours, which has none."""
    if environment is None:
        done = prepared.run([str(BIN / "skipjack"), "validate", str(tree)], timeout=PATIENCE)
    else:
        done = environment.run("skipjack", "validate", str(tree))
    return done.stdout + done.stderr


def test_a_mirror_of_a_plug_in_is_synced_reported_and_shown(
    example: Environment, source: GitDaemon, repository: ConfigRepository, manager: Manager, tmp_path: Path
) -> None:
    """The manager has no plug-in: it reads the keys from the repository."""
    worker = PluginWorker(tmp_path / "w", "w1", repository.url, manager)
    worker.environment = example
    worker.allow("providers: [rsync, command, git]")
    worker.allow("hooks: [announce]")
    files = {f"{SCHEMAS}/git.provider.schema.json": FRAGMENT, f"{SCHEMAS}/announce.hook.schema.json": ANNOUNCE}
    keys = "git: {depth: 1}\nannounce: {text: 'new files in {name}'}\n"
    commit = repository.commit({**files, "project.yml": project(source, keys)}, "Add project")

    worker.command("once")

    copy = tmp_path / "copy"
    git(tmp_path, "clone", "-q", str(worker.root / "project"), str(copy))
    assert (copy / "two").exists()
    assert git(copy, "rev-list", "--count", "HEAD") == "1"
    run = worker.run_of("project")
    assert (run.status, run.revision) == ("success", commit)
    assert run.files and run.bytes, "the reader found figures in git's messages"
    assert (worker.folder / "logs/project/announcement.txt").read_text() == "new files in project\n"
    wait_until(
        lambda: [each["status"] for each in (manager.published() or {"mirrors": []})["mirrors"]] == ["success"],
        "the page shows the success",
    )
    wait_until(lambda: "project" in manager.page("mirrors/project.html"), "the mirror has a page")


def test_the_page_does_not_claim_that_a_mirror_without_its_plug_in_keeps_a_definition(
    repository: ConfigRepository, manager: Manager, tmp_path: Path
) -> None:
    worker = Worker(tmp_path / "w", "w1", repository.url, manager)
    policy = worker.folder / "policy.yml"
    policy.write_text(f"{policy.read_text()}providers: [command, git]\n")
    definition = "provider: git\nupstream: https://x.example/\n"
    files = {f"{SCHEMAS}/git.provider.schema.json": FRAGMENT, "project.yml": definition, "kept.yml": COMMAND}
    repository.commit(files, "Add both")
    said(worker, "follow")
    repository.commit({"kept.yml": "provider: nosuch\n"}, "Break one")

    said(worker, "once")

    def shown() -> dict[str, str | None]:
        hosts = (manager.published() or {"workers": []})["workers"]
        return {each["place"]: each["mirror"] for host in hosts for each in host["problems"]}

    wait_until(lambda: shown().get("project.yml", "") is None, "the page shows it")
    assert "kept" in shown().values()


def test_definitions_are_valid_where_only_their_schemas_are(
    example: Environment, source: GitDaemon, repository: ConfigRepository
) -> None:
    definition = project(source, "git: {depht: 1}\n")
    tree = repository.tree
    (tree / "project.yml").write_text(definition)
    unknown = validated(tree)
    assert "unknown provider `git`" in unknown.lower()
    assert f"{SCHEMAS}/git.provider.schema.json" in unknown
    assert "1 problem; 0 mirrors" in unknown
    (tree / SCHEMAS).mkdir(parents=True)
    (tree / SCHEMAS / "git.provider.schema.json").write_text(FRAGMENT)

    without, with_plugin = validated(tree), validated(tree, example)

    assert "Did you mean `depth`?" in without
    assert without.splitlines()[0] == with_plugin.splitlines()[0]
    (tree / "project.yml").write_text(definition.replace("depht", "depth"))
    assert "1 mirror is valid" in validated(tree)


def test_a_damaged_schema_in_the_repository_concerns_only_mirrors_that_use_it(
    source: GitDaemon, repository: ConfigRepository, worker: Worker
) -> None:
    files = {f"{SCHEMAS}/git.provider.schema.json": "{", "project.yml": project(source), "other.yml": COMMAND}
    repository.commit(files, "Add both")
    assert f"{SCHEMAS}/git.provider.schema.json" in said(worker, "follow")
    assert planned(worker) == {"other"}


def test_a_schema_that_differs_from_the_installed_one_is_a_warning(
    example: Environment, source: GitDaemon, repository: ConfigRepository
) -> None:
    tree = repository.tree
    (tree / SCHEMAS).mkdir(parents=True)
    (tree / SCHEMAS / "git.provider.schema.json").write_text(FRAGMENT.replace("1000000", "500"))
    (tree / "project.yml").write_text(project(source, "git: {depth: 600}\n"))
    done = example.run("skipjack", "validate", str(tree))
    assert done.returncode == 0, "the installed one counts"
    assert "git.provider.schema.json" in done.stdout + done.stderr


def test_the_policy_decides_about_providers_hooks_and_programs(
    example: Environment, source: GitDaemon, repository: ConfigRepository, tmp_path: Path
) -> None:
    worker = worker_of(example, tmp_path / "w", repository)
    repository.commit({"project.yml": project(source, "announce: {}\n")}, "Add project")

    denied = said(worker, "follow")
    assert "provider `git` is not allowed" in denied
    assert "hook `announce` is not allowed" in denied
    assert planned(worker) == set()

    worker.allow("providers: [git]\nhooks: [announce]\nprograms: [/usr/bin/rsync]")
    said(worker, "follow")
    worker.command("run", "project", check=False)
    run = worker.run_of("project")
    assert run.status == "refused"
    assert "git" in run.reason

    policy = worker.folder / "policy.yml"
    policy.write_text(policy.read_text().replace("/usr/bin/rsync", shutil.which("git") or ""))
    said(worker, "follow")
    worker.command("run", "project")
    assert worker.run_of("project").status == "success"


def test_broken_plug_ins_quarantine_only_their_mirrors_until_they_work(
    own: Environment, repository: ConfigRepository, tmp_path: Path
) -> None:
    for kind, (text, _) in BROKEN.items():
        own.write(f"skipjack-{kind}", {f"providers {kind}": f"{kind}_module"}, {f"{kind}_module.py": text})
    worker = worker_of(own, tmp_path / "w", repository)
    worker.allow(f"providers: [command, {', '.join(BROKEN)}]")
    mirrors = {f"{kind}.yml": f"provider: {kind}\nupstream: https://x.example/\n" for kind in BROKEN}
    repository.commit({**mirrors, "other.yml": COMMAND}, "Add all")

    answer = said(worker, "follow")

    assert "Traceback" not in answer
    assert planned(worker) == {"other"}
    shown = said(worker, "next")
    for kind, (_, named) in BROKEN.items():
        [problem] = [line for line in answer.splitlines() if f"{kind}.yml" in line]
        plug_in = f"The provider plug-in `{kind}` ({kind}_module of skipjack-{kind} 1.0) "
        assert plug_in in problem and named in problem
        reason = problem.partition(f"{kind}.yml: ")[2]
        assert reason in shown and reason in said(worker, "run", kind)
    for command in (("run", "shapeless", "--dry-run"), ("start", "shapeless")):
        assert reason in said(worker, *command)
    worker.command("run", "other")
    assert worker.run_of("other").status == "success"

    for kind in BROKEN:
        (own.site_packages / f"{kind}_module.py").write_text(PROBE)
    said(worker, "follow")
    assert planned(worker) == {*BROKEN, "other"}
    for kind in BROKEN:
        worker.command("run", kind)
        assert worker.run_of(kind).status == "success"


def test_a_run_loads_its_plug_in_and_neither_metadata_nor_other_plug_ins(
    own: Environment, repository: ConfigRepository, tmp_path: Path
) -> None:
    own.write("skipjack-probe", {"providers probe": "probe_module"}, {"probe_module.py": PROBE})
    own.write("skipjack-other", {"hooks other": "other_module"}, {"other_module.py": "def pre_job(job): pass\n"})
    worker = worker_of(own, tmp_path / "w", repository)
    worker.allow("providers: [probe]\nhooks: [other]")
    repository.commit({"m.yml": "provider: probe\nupstream: https://x.example/\n"}, "Add m")

    worker.command("once")

    loaded = set((worker.root / "m/modules").read_text().split())
    assert "probe_module" in loaded
    assert not loaded & {"importlib.metadata", "importlib.resources", "json.schema", "jsonschema", "yaml", "site"}
    assert "other_module" not in loaded


def test_a_stop_ends_a_run_whose_plug_in_waits_in_python(
    own: Environment, repository: ConfigRepository, tmp_path: Path
) -> None:
    waits = PROBE.replace("    yield", "    __import__('time').sleep(10**6)\n    yield")
    own.write("skipjack-probe", {"providers probe": "probe_module"}, {"probe_module.py": waits})
    worker = worker_of(own, tmp_path / "w", repository)
    worker.allow("providers: [probe]")
    repository.commit({"m.yml": "provider: probe\nupstream: https://x.example/\n"}, "Add m")
    worker.command("follow", "--start")
    wait_until((worker.root / "m/modules").exists, "the plug-in waits")

    worker.command("stop", "m")

    wait_until(lambda: worker.states() == {"m": "paused"}, "the run has ended")
    run = worker.run_of("m")
    assert run.status == "stopped"
    assert "the provider plug-in `probe` (probe_module of skipjack-probe 1.0) was interrupted" in run.log_tail


def test_an_inherited_hook_can_be_switched_off(
    example: Environment, repository: ConfigRepository, tmp_path: Path
) -> None:
    worker = worker_of(example, tmp_path / "w", repository)
    worker.allow("hooks: [announce]")
    defaults = (repository.tree / "_defaults.yml").read_text()
    files = {
        "_defaults.yml": f"{defaults}announce: {{}}\n",
        "on.yml": COMMAND,
        "off.yml": f"{COMMAND}announce: false\n",
    }
    repository.commit(files, "Announce")

    worker.command("once")

    text = (worker.folder / "logs/on/announcement.txt").read_text()
    assert text.startswith("on was synced from https://x.example/ at 20")
    assert not (worker.folder / "logs/off/announcement.txt").exists()


def test_the_built_in_provider_wins_over_a_plug_in_of_its_name(
    own: Environment, repository: ConfigRepository, tmp_path: Path
) -> None:
    own.write("skipjack-false", {"providers command": "false_module"}, {"false_module.py": "raise SystemExit(7)\n"})
    worker = worker_of(own, tmp_path / "w", repository)
    repository.commit({"m.yml": COMMAND}, "Add m")

    worker.command("once")

    assert (worker.root / "m/synced").exists()
    listed = [line for line in said(worker, "plugins").splitlines() if line.startswith("command ")]
    assert len(listed) == 2
    assert sum("hidden by the built-in" in line for line in listed) == 1


def test_two_plug_ins_of_one_name_are_both_unusable(
    own: Environment, repository: ConfigRepository, tmp_path: Path
) -> None:
    for number in ("one", "two"):
        own.write(f"skipjack-{number}", {"providers probe": f"probe_{number}"}, {f"probe_{number}.py": PROBE})
    worker = worker_of(own, tmp_path / "w", repository)
    worker.allow("providers: [command, probe]")
    repository.commit({"m.yml": "provider: probe\nupstream: https://x.example/\n", "other.yml": COMMAND}, "Add both")
    answer = said(worker, "follow")
    both = "the provider of skipjack-one and the provider of skipjack-two have the same name"
    assert re.search(
        rf"The provider plug-in `probe` \(probe_(one|two) of skipjack-\1 \S+\) cannot be used: {both}", answer
    )
    assert planned(worker) == {"other"}


def test_plug_ins_are_listed_with_their_state(
    example: Environment, source: GitDaemon, repository: ConfigRepository, tmp_path: Path
) -> None:
    worker = worker_of(example, tmp_path / "w", repository)
    worker.allow("providers: [rsync, git]")
    repository.commit({"project.yml": project(source)}, "Add project")
    worker.command("follow")

    rows = {each["name"]: each for each in json.loads(said(worker, "plugins", "--json"))}

    shown = {name: (row["kind"], row["version"], row["state"], row["mirrors"]) for name, row in rows.items()}
    assert shown["git"] == ("provider", "1.0", "in-use", 1)
    assert shown["announce"] == ("hook", "1.0", "denied", 0)
    assert {"rsync", "two-stage-rsync", "command"} <= shown.keys()
    keys = said(worker, "plugins", "git")
    assert "in use by 1 mirror" in keys
    assert "depth: integer" in keys and "Number of newest commits of each branch to mirror." in keys


def test_changes_of_an_editable_installation_are_used_at_once(
    own: Environment, repository: ConfigRepository, tmp_path: Path
) -> None:
    """The module lies in another folder than the environment, and a change needs no installation."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "probe_module.py").write_text(PROBE)
    (own.site_packages / "editable.pth").write_text(f"{folder}\n")
    own.write("skipjack-probe", {"providers probe": "probe_module"}, {})
    worker = worker_of(own, tmp_path / "w", repository)
    worker.allow("providers: [probe]")
    repository.commit({"m.yml": "provider: probe\nupstream: https://x.example/\n"}, "Add m")
    worker.command("once")
    assert (worker.root / "m/modules").exists()

    (folder / "probe_module.py").write_text(PROBE.replace("/modules", "/again"))
    worker.command("run", "m")

    assert (worker.root / "m/again").exists()


def test_a_plug_in_that_was_removed_quarantines_its_mirrors(
    own: Environment, repository: ConfigRepository, tmp_path: Path
) -> None:
    """A run that is started before the next follow fails with a reason."""
    own.write("skipjack-probe", {"providers probe": "probe_module"}, {"probe_module.py": PROBE})
    worker = worker_of(own, tmp_path / "w", repository)
    worker.allow("providers: [command, probe]")
    repository.commit({"m.yml": "provider: probe\nupstream: https://x.example/\n", "other.yml": COMMAND}, "Add both")
    worker.command("once")
    assert worker.run_of("m").status == "success"
    shutil.rmtree(own.site_packages / "skipjack_probe-1.0.dist-info")
    (own.site_packages / "probe_module.py").unlink()

    worker.command("run", "m", check=False)
    assert worker.run_of("m").status == "failed"
    assert "probe_module" in worker.run_of("m").reason

    assert "unknown provider `probe`" in said(worker, "follow").lower()
    assert "other" in planned(worker)
