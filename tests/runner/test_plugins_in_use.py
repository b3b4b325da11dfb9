"""Plug-ins from the catalogue to the plan: which are tried, whose mirrors are quarantined, and what heals them."""

import json
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner import cli
from runner.base.state_dir import StateLayout
from runner.follow import plugin_trial
from runner.plan import plan
from runner.plan.plan import Header
from schemas import VERSION
from schemas.plugins import GROUPS, HOOK, PROVIDER
from tests.e2e.parts import ConfigRepository, Worker

FETCHES = """
from runner.plugin_api import Command
def commands(job):
    yield Command(("sh", "-c", f"echo {job.keys('git')['depth']} > depth"), {}, job.directory)
"""
WRITES = """
import os
def post_success(job):
    with open(os.path.join(job.log_dir, "announced"), "w") as file:
        file.write(job.keys("announce").get("text", "none"))
"""
GIT = "provider: git\nupstream: https://git.example.org/a.git\n"
COMMAND = "provider: command\nupstream: https://files.example.org/\ncommand: /bin/true\n"


class Packages:
    """A folder on `sys.path` with installed distributions."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def install(self, kind: str, name: str, source: str, version: str = "1.0", **properties: Any) -> Path:
        """Install a plug-in, or another version of it; return its module's file."""
        module = f"{self.folder.parent.name}_{name}".replace("-", "_")
        info = self.folder / f"skipjack_{name}-1.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: skipjack-{name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[{GROUPS[kind]}]\n{name} = {module}.main\n")
        package = self.folder / module
        package.mkdir(exist_ok=True)
        (package / "__init__.py").touch()
        fragment = {
            "title": name, "description": "A test.", "type": "object", "additionalProperties": False,
            "properties": properties,
        }  # fmt: skip
        (package / f"{name}.schema.json").write_text(json.dumps(fragment))
        (package / "main.py").write_text(textwrap.dedent(source))
        return package / "main.py"

    def remove(self, name: str) -> None:
        info = self.folder / f"skipjack_{name}-1.dist-info"
        for path in info.iterdir():
            path.unlink()
        info.rmdir()


DEPTH = {"type": "integer", "minimum": 1, "description": "Commits.", "default": 5, "examples": [1]}
TEXT = {"type": "string", "description": "A text.", "examples": ["x"]}


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Packages:
    made = Packages(tmp_path / "packages")
    monkeypatch.syspath_prepend(str(made.folder))
    return made


@pytest.fixture
def repository(tmp_path: Path) -> ConfigRepository:
    made = ConfigRepository(tmp_path)
    made.commit(
        {"_site.yml": "title: x\n", "_workers.yml": "workers: {w1: {}}\n", "_defaults.yml": "worker: w1\n"}, "0"
    )
    return made


class PluginWorker(Worker):
    """A worker whose follow runs in this process, which has the packages on its `sys.path`."""

    def follow(self, *more: str) -> int:
        return cli.main(["follow", "--settings", str(self.settings), *more])

    def allow(self, text: str) -> None:
        policy = self.folder / "policy.yml"
        kept = [line for line in policy.read_text().splitlines() if line.startswith(("readable", "pattern"))]
        policy.write_text("\n".join([*kept, text, ""]))

    @property
    def header(self) -> Header:
        with plan.opened(StateLayout(str(self.state)).plan) as opened:
            return opened.header

    @property
    def mirrors(self) -> dict[str, str]:
        """The provider of each mirror in the plan."""
        with plan.opened(StateLayout(str(self.state)).plan) as opened:
            return {each.mirror.name: each.mirror.provider for each in opened.mirrors()}

    @property
    def problems(self) -> list[str]:
        return [what for _name, _place, what, _todo in self.header.problems]


@pytest.fixture
def machine(tmp_path: Path, repository: ConfigRepository) -> PluginWorker:
    made = PluginWorker(tmp_path / "w", "w1", repository.url)
    made.allow("providers: [command, git]\nhooks: [announce]")
    return made


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the plug-ins that were tried, each time that one is."""
    found: list[str] = []
    why_broken = plugin_trial.why_broken

    def counted(plugin: Any) -> str:
        found.append(plugin.name)
        return why_broken(plugin)

    monkeypatch.setattr(plugin_trial, "why_broken", counted)
    return found


def test_a_plug_in_syncs_a_mirror_with_its_keys_and_a_hook_acts_on_it(
    packages: Packages, repository: ConfigRepository, machine: PluginWorker, trials: list[str]
) -> None:
    packages.install(PROVIDER, "git", FETCHES, depth=DEPTH)
    packages.install(HOOK, "announce", WRITES, text=TEXT)
    packages.install(HOOK, "unused", WRITES, text=TEXT)
    repository.commit(
        {"a.yml": f"{GIT}git: {{depth: 7}}\nannounce: {{text: hello}}\n", "b.yml": GIT, "c.yml": COMMAND}, "1"
    )

    assert machine.follow() == 0

    assert [(each.kind, each.name, each.version) for each in machine.header.plugins] == [
        (HOOK, "announce", "1.0"), (PROVIDER, "git", "1.0"),
    ]  # fmt: skip
    assert sorted(trials) == ["announce", "git"], "each one that is used, once"
    for name in ("a", "b", "c"):
        machine.command("run", name)
    assert (machine.root / "a/depth").read_text() == "7\n"
    assert (machine.root / "b/depth").read_text() == "5\n", "the default of the schema"
    assert (machine.folder / "logs/a/announced").read_text() == "hello"
    assert not (machine.folder / "logs/c/announced").exists()
    assert machine.follow() == 0
    assert sorted(trials) == ["announce", "git"], "not tried again while nothing has changed"
    assert cli.main(["plugins", "--settings", str(machine.settings)]) == 0
    assert not [name for name in sys.modules if name.startswith(f"{packages.folder.parent.name}_")], "no code runs here"


def test_a_broken_plug_in_quarantines_its_mirrors_alone_until_it_is_repaired(
    packages: Packages, repository: ConfigRepository, machine: PluginWorker, trials: list[str]
) -> None:
    packages.install(PROVIDER, "git", "import a_missing_library\n" + FETCHES, depth=DEPTH)
    repository.commit({"a.yml": GIT, "b.yml": COMMAND}, "1")

    assert machine.follow() == 1

    assert machine.mirrors == {"b": "command"}
    [problem] = machine.problems
    assert problem.startswith("The provider plug-in `git` (") and "No module named 'a_missing_library'" in problem
    assert (machine.header.plugins, [why for _plugin, why in machine.header.broken]) == (
        (),
        [problem[0].lower() + problem[1:-1]],
    )
    before = Path(StateLayout(str(machine.state)).plan).stat().st_ino
    assert machine.follow() == 1 and trials == ["git", "git"], "each follow tries it again"
    assert Path(StateLayout(str(machine.state)).plan).stat().st_ino == before, "the plan is the same"

    (packages.folder / "a_missing_library.py").touch()

    assert machine.follow() == 0
    assert machine.mirrors == {"a": "git", "b": "command"}
    assert machine.header.broken == ()


def test_a_mirror_keeps_the_definition_that_it_had_before_a_broken_plug_in(
    packages: Packages, repository: ConfigRepository, machine: PluginWorker
) -> None:
    packages.install(PROVIDER, "git", "1 // 0\n", depth=DEPTH)
    repository.commit({"a.yml": COMMAND}, "1")
    assert machine.follow() == 0
    repository.commit({"a.yml": GIT}, "2")
    assert machine.follow() == 1
    assert machine.mirrors == {"a": "command"}


def test_each_change_of_the_package_changes_the_plan(
    packages: Packages, repository: ConfigRepository, machine: PluginWorker
) -> None:
    packages.install(PROVIDER, "git", FETCHES, depth=DEPTH)
    repository.commit({"a.yml": GIT, "b.yml": COMMAND}, "1")
    assert machine.follow() == 0
    packages.install(PROVIDER, "git", FETCHES, version="2.0", depth=DEPTH | {"default": 9})
    assert machine.follow() == 0
    assert [each.version for each in machine.header.plugins] == ["2.0"]
    machine.command("run", "a")
    assert (machine.root / "a/depth").read_text() == "9\n"
    packages.remove("git")
    assert machine.follow() == 1
    assert machine.mirrors == {"b": "command"}
    assert any("`git`" in problem for problem in machine.problems)


def test_a_run_of_a_plug_in_that_is_gone_fails_with_the_reason(
    packages: Packages, repository: ConfigRepository, machine: PluginWorker
) -> None:
    file = packages.install(PROVIDER, "git", FETCHES, depth=DEPTH)
    repository.commit({"a.yml": f"{GIT}retry: 1\n", "b.yml": COMMAND}, "1")
    assert machine.follow() == 0
    file.unlink()
    done = machine.command("run", "a", check=False)
    assert done.returncode == 1 and "the provider plug-in `git` (" in done.stderr
    assert machine.run_of("a").status == "failed"
    assert "cannot be imported: ModuleNotFoundError" in machine.run_of("a").reason
    assert not list(machine.state.glob("skipjack-bug*"))
    machine.command("run", "b")


@pytest.mark.parametrize("line", ["os._exit(0)", "os.kill(os.getpid(), 9)"])
def test_a_plug_in_that_ends_the_process_of_its_run_is_a_crash_of_that_run(
    packages: Packages, repository: ConfigRepository, machine: PluginWorker, line: str
) -> None:
    packages.install(PROVIDER, "git", f"import os\ndef commands(job):\n    {line}\n", depth=DEPTH)
    repository.commit({"a.yml": f"{GIT}cron: 0 0 1 1 *\n"}, "1")
    assert machine.follow() == 0
    machine.command("run", "a", check=False)
    machine.command("tick")
    run = machine.run_of("a")
    assert run.status == "interrupted" and "died" in run.reason


def test_a_thread_that_a_plug_in_leaves_does_not_keep_its_run_alive(
    packages: Packages, repository: ConfigRepository, machine: PluginWorker
) -> None:
    starts = "import threading, time\nthreading.Thread(target=time.sleep, args=(3600,)).start()\n"
    packages.install(HOOK, "announce", f"def post_success(job):\n{textwrap.indent(starts, '    ')}", text=TEXT)
    repository.commit({"a.yml": f"{COMMAND}announce: {{}}\n"}, "1")
    assert machine.follow() == 0
    done = machine.command("run", "a")
    assert "WARNING a: a plug-in left a thread, which ends with the run" in done.stderr
    assert machine.run_of("a").status == "success"


def test_the_policy_decides_before_any_code_of_a_plug_in_runs(
    packages: Packages,
    repository: ConfigRepository,
    machine: PluginWorker,
    trials: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    packages.install(PROVIDER, "git", FETCHES, depth=DEPTH)
    packages.install(HOOK, "announce", WRITES, text=TEXT)
    repository.commit(
        {"a.yml": GIT, "b.yml": f"{COMMAND}announce: {{}}\n", "c.yml": f"{COMMAND}announce: false\n"}, "1"
    )
    machine.allow("")

    assert machine.follow() == 1

    assert machine.mirrors == {"c": "command"}
    assert machine.problems == [
        "The provider `git` is not allowed on this machine.", "The hook `announce` is not allowed on this machine.",
    ]  # fmt: skip
    assert trials == []
    capsys.readouterr()
    assert cli.main(["policy", "suggest", "--settings", str(machine.settings)]) == 0
    suggested = yaml.safe_load(capsys.readouterr().out)
    assert suggested["hooks"] == ["announce"] and "git" in suggested["providers"]
    machine.allow("providers: [command, git]\nhooks: [announce]")
    assert machine.follow() == 0


def test_a_plug_in_that_only_the_repository_describes_quarantines_its_mirrors_here(
    packages: Packages, repository: ConfigRepository, machine: PluginWorker
) -> None:
    main = packages.install(PROVIDER, "git", FETCHES, depth=DEPTH)
    fragment = (main.parent / "git.schema.json").read_text()
    packages.remove("git")
    repository.commit({"a.yml": GIT, "b.yml": COMMAND, ".skipjack/schemas/git.provider.schema.json": fragment}, "1")
    assert machine.follow() == 1
    assert machine.mirrors == {"b": "command"}
    assert machine.problems == ["The provider plug-in `git` is not installed on this machine."]


def test_a_plug_in_whose_schema_breaks_is_reported_once_for_each_of_its_mirrors(
    packages: Packages, repository: ConfigRepository, machine: PluginWorker
) -> None:
    """The definition in force cannot use it for the same reason as the new one."""
    main = packages.install(PROVIDER, "git", FETCHES, depth=DEPTH)
    repository.commit({"a.yml": GIT, "b.yml": GIT, "c.yml": COMMAND}, "1")
    assert machine.follow() == 0
    (main.parent / "git.schema.json").write_text("{")
    assert machine.follow() == 1
    assert machine.mirrors == {"c": "command"}
    assert [(name, place) for name, place, _what, _todo in machine.header.problems] == [
        ("a", "a.yml:1:11"), ("b", "b.yml:1:11"),
    ]  # fmt: skip


def test_an_upstream_of_a_plug_in_cannot_be_a_file_where_the_policy_lists_programs(
    packages: Packages, repository: ConfigRepository, machine: PluginWorker
) -> None:
    packages.install(PROVIDER, "git", FETCHES, depth=DEPTH)
    machine.allow("providers: [git]\nprograms: [/usr/bin/git]")
    local = GIT.replace("https://git.example.org/", "/etc/")
    repository.commit({"a.yml": GIT, "b.yml": local, "c.yml": local.replace("/etc/", "file:///etc/")}, "1")
    assert machine.follow() == 1
    assert machine.mirrors == {"a": "git"}
    assert ["which a program could take for a file of this machine" in what for what in machine.problems] == [
        True,
        True,
    ]
    assert machine.header.programs == ("/usr/bin/git",)
    done = machine.command("run", "a", check=False)
    assert done.returncode == 1 and "which this machine does not allow" in done.stderr, "it starts sh"


def test_a_plug_in_that_breaks_or_changes_after_the_plan_is_noticed_by_the_next_follow(
    packages: Packages, repository: ConfigRepository, machine: PluginWorker
) -> None:
    module = packages.install(PROVIDER, "git", FETCHES, depth=DEPTH)
    repository.commit({"a.yml": GIT, "b.yml": COMMAND}, "1")
    assert machine.follow() == 0
    module.write_text("1 // 0\n")
    assert machine.follow() == 1
    assert machine.mirrors == {"b": "command"}
    [what] = machine.problems
    assert what.startswith("The provider plug-in `git` (") and " of skipjack-git 1.0) cannot be imported: Zero" in what
    module.write_text(textwrap.dedent(FETCHES))
    assert machine.follow() == 0
    module.unlink()
    assert machine.follow() == 1
    assert " of skipjack-git 1.0) cannot be used: its module `" in machine.problems[0]
    packages.install(PROVIDER, "git", FETCHES, depth=DEPTH)
    assert machine.follow() == 0
    assert machine.mirrors == {"a": "git", "b": "command"}


def test_a_policy_with_a_misspelt_provider_or_hook_gets_a_warning(
    packages: Packages, repository: ConfigRepository, machine: PluginWorker, capsys: pytest.CaptureFixture[str]
) -> None:
    packages.install(HOOK, "announce", WRITES, text=TEXT)
    machine.allow("providers: [rsnyc, command, later-plugin]\nhooks: [anounce, announce]")
    repository.commit({"b.yml": COMMAND}, "1")
    wrong = [
        "`providers` in the policy has `rsnyc`: no provider of this name is installed here. Did you mean `rsync`?",
        "`providers` in the policy has `later-plugin`: no provider of this name is installed here."
        " Install it, or remove the name.",
        "`hooks` in the policy has `anounce`: no hook of this name is installed here. Did you mean `announce`?",
    ]

    assert machine.follow() == 0
    assert capsys.readouterr().err.splitlines()[:3] == [f"WARNING follow: {line}" for line in wrong]
    assert machine.mirrors == {"b": "command"}
    for words, program in ((["plugins"], "plugins"), (["policy", "suggest"], "policy")):
        assert cli.main([*words, "--settings", str(machine.settings)]) == 0
        assert [line for line in capsys.readouterr().err.splitlines() if "in the policy" in line] == [
            f"WARNING {program}: {line}" for line in wrong
        ]


def test_a_dry_run_shows_the_commands_and_starts_none(
    packages: Packages, repository: ConfigRepository, machine: PluginWorker
) -> None:
    packages.install(PROVIDER, "git", FETCHES, depth=DEPTH)
    packages.install(HOOK, "announce", "def pre_job(job): 1 // 0\n")
    repository.commit({"a.yml": f"{GIT}announce: {{}}\n"}, "1")
    assert machine.follow() == 0
    done = machine.command("run", "a", "--dry-run")
    assert "  1. sh -c 'echo 5 > depth'" in done.stdout
    assert "hooks:      announce, which a dry run does not call" in done.stdout
    assert not (machine.root / "a").exists()


def test_a_loss_of_files_is_refused_as_for_a_command(
    packages: Packages, repository: ConfigRepository, machine: PluginWorker
) -> None:
    source = """
    from runner.plugin_api import Command
    def commands(job):
        job.deletions_judged = True
        yield Command(("sh", "-c", "if [ -e 1 ]; then rm ?; else touch 1 2 3 4 5 6 7 8; fi"), {}, job.directory)
    """
    packages.install(PROVIDER, "git", source, depth=DEPTH)
    repository.commit({"a.yml": f"{GIT}retry: 1\n"}, "1")
    assert machine.follow() == 0
    machine.command("run", "a")
    assert machine.command("run", "a", check=False).returncode == 1
    assert machine.run_of("a").status == "refused"


def listed(capsys: pytest.CaptureFixture[str], *more: str) -> list[str]:
    capsys.readouterr()
    assert cli.main(["plugins", *more]) == 0
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_the_list_shows_the_state_of_each_provider_and_hook(
    packages: Packages, repository: ConfigRepository, machine: PluginWorker, capsys: pytest.CaptureFixture[str]
) -> None:
    packages.install(PROVIDER, "git", FETCHES, depth=DEPTH)
    packages.install(HOOK, "announce", "1 // 0\n", text=TEXT)
    packages.install(PROVIDER, "spare", FETCHES, depth=DEPTH)
    packages.install(HOOK, "forbidden", "raise SystemExit\n", text=TEXT)
    packages.install(PROVIDER, "rsync", FETCHES, depth=DEPTH)
    packages.install(HOOK, "Wrong", WRITES, text=TEXT)
    machine.allow("providers: [command, git, spare]\nhooks: [announce]")
    repository.commit({"a.yml": GIT, "b.yml": GIT, "c.yml": COMMAND}, "1")
    settings = ("--settings", str(machine.settings))
    before = listed(capsys, *settings)
    assert machine.follow() == 0

    lines = listed(capsys, *settings)

    assert "git provider 1.0 usable" in before, "there is no plan yet"
    for line in (
        "NAME KIND VERSION STATE",
        "rsync provider 0.1.0 not allowed by `providers` of the policy",
        "command provider 0.1.0 in use by 1 mirror",
        "log_keeper hook 0.1.0 in use by 3 mirrors",
        "trace hook 0.1.0 usable",
        "git provider 1.0 in use by 2 mirrors",
        "spare provider 1.0 usable",
        "forbidden hook 1.0 not allowed by `hooks` of the policy",
        "rsync provider 1.0 hidden by the built-in provider `rsync`",
    ):
        assert line.replace("0.1.0", VERSION) in lines, line
    assert [line.partition(" cannot")[0] for line in lines if line.startswith("announce")] == [
        "announce hook 1.0 broken: the hook plug-in `announce`"
        f" ({packages.folder.parent.name}_announce.main of skipjack-announce 1.0)"
    ]
    assert any(line.startswith("Wrong hook 1.0 broken: `Wrong` is not a valid name") for line in lines)


def test_the_list_as_json_has_the_same_rows(
    packages: Packages, machine: PluginWorker, capsys: pytest.CaptureFixture[str]
) -> None:
    packages.install(PROVIDER, "git", FETCHES, depth=DEPTH)
    settings = ("--settings", str(machine.settings))
    table = listed(capsys, *settings)[1:]
    rows = json.loads("\n".join(listed(capsys, "--json", *settings)))
    assert [(row["name"], row["kind"], row["version"]) for row in rows] == [tuple(line.split()[:3]) for line in table]
    (git,) = json.loads("\n".join(listed(capsys, "git", "--json", *settings)))
    assert (git["state"], git["reason"], git["mirrors"], git["distribution"]) == ("usable", "", None, "skipjack-git")


def test_one_plug_in_is_shown_with_its_keys(
    packages: Packages, machine: PluginWorker, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    packages.install(PROVIDER, "git", FETCHES, depth=DEPTH)
    monkeypatch.setattr(cli, "SETTINGS", machine.folder / "missing.yml")
    monkeypatch.setenv("HOME", str(machine.folder))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(machine.folder))

    lines = listed(capsys, "git")

    module = f"{packages.folder.parent.name}_git.main"
    assert lines == [
        f"provider git 1.0 (skipjack-git, {module}): usable",
        "A test.",
        "Keys below `git:`",
        "depth: integer, default: 5, example: 1",
        "Commits.",
    ]
    assert "Common keys of a mirror that it reads: `upstream`" in " ".join(listed(capsys, "rsync"))
    assert cli.main(["plugins", "nothing"]) == 1
    said = capsys.readouterr().err
    assert "no provider or hook `nothing` is installed here. Known: `rsync`" in said and "`git`" in said
