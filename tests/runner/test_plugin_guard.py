"""A plug-in whose code fails ends the run of its mirror, with a reason that names it, and nothing else."""

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.base.mirror_paths import Paths
from runner.journal.journal import Ending
from runner.plugin_api import Job, Machine
from runner.run import pipeline
from runner.run.parts import parts_of
from schemas.plugins import HOOK, PROVIDER, Plugin
from schemas.records import Mirror
from tests.runner.syncing import UNSTOPPED

HEAD = "from runner.plugin_api import *\n\n"

STARTS_ECHO = """
def commands(job):
    yield Command(("echo", "hello", job.mirror.upstream), {}, job.directory)
"""


class Plugged:
    """A mirror whose provider is a plug-in of this source, with hook plug-ins if there are any."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.directory = folder / "srv/m"
        self.log = folder / "log/m.log"
        self.packages = folder / "packages"
        for each in (self.directory, self.log.parent, self.packages, folder / "state"):
            each.mkdir(parents=True)
        (self.directory / "file").write_text("x")
        self.plugins: list[Plugin] = []
        self.mirror = Mirror("m", "w", "git", "https://git.example.org/m", retry=1)
        self.programs: tuple[str, ...] | None = None
        self.pattern_files: tuple[str, ...] | None = None
        self.job: Job | None = None

    def add(self, kind: str, name: str, source: str) -> Plugin:
        """Install a plug-in; its module has a name that no other test uses."""
        module = f"{self.folder.parent.name}_{self.folder.name}_{name}".replace("-", "_")
        (self.packages / f"{module}.py").write_text(HEAD + textwrap.dedent(source))
        plugin = Plugin(kind, name, module, str(self.packages), "1.2", "example")
        self.plugins.append(plugin)
        if kind == HOOK:
            self.mirror = self.mirror._replace(plugins={**self.mirror.plugins, name: {}})
        return plugin

    def run(self, **changed: Any) -> Ending:
        mirror = self.mirror._replace(**changed)
        job = Job(mirror, Paths(str(self.directory), str(self.directory.parent), str(self.log.parent)))
        job.machine = Machine(str(self.folder / "state"), programs=self.programs, judged=self.programs is not None)
        job.machine = job.machine._replace(pattern_files=self.pattern_files)
        job.log_file = str(self.log)
        self.log.write_text("")
        provider, hooks = parts_of(mirror, self.plugins)
        own = [hook for hook in hooks if type(hook).__name__ == "GuardedHook"]
        self.job = job
        return pipeline.run(job, pipeline.Means(provider, own, (), UNSTOPPED, lambda _number: None, lambda _told: None))

    @property
    def reports(self) -> list[Path]:
        """Bug reports, of which there must be none."""
        return list((self.folder / "state").glob("skipjack-bug*"))


@pytest.fixture
def plugged(tmp_path: Path) -> Iterator[Plugged]:
    path, modules = list(sys.path), set(sys.modules)
    yield Plugged(tmp_path)
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def test_commands_alone_make_a_provider(plugged: Plugged) -> None:
    plugged.add(PROVIDER, "git", STARTS_ECHO)
    ending = plugged.run()
    assert (ending.status, ending.reason, ending.exit_code) == ("success", "", 0)
    assert plugged.log.read_text() == "hello https://git.example.org/m\n"


def test_a_provider_without_more_fails_with_the_exit_code_and_knows_one_for_an_unreached_upstream(
    plugged: Plugged,
) -> None:
    plugged.add(PROVIDER, "git", 'def commands(job):\n    yield Command(("sh", "-c", "exit 75"), {}, "/")\n')
    ending = plugged.run()
    assert (ending.status, ending.reason, ending.unreached) == ("failed", "the command exited with 75", True)
    assert plugged.run(success_exit_codes=(75,)).status == "success"


def test_the_other_functions_of_a_provider_are_called(plugged: Plugged) -> None:
    source = """
    UNREACHED = {4}

    class Sizes:
        def __init__(self):
            self.size = None
        def line(self, text):
            self.size = int(text)
        def findings(self):
            return Findings(size=self.size, files=7, remark="")

    def reader(job):
        return Sizes()

    def commands(job):
        yield Command(("sh", "-c", "echo 4711; exit $CODE"), {"CODE": job.mirror.command}, "/")

    def is_success(job, code):
        return code == 3

    def explain(code):
        return f"git found no peace: {code}"
    """
    plugged.add(PROVIDER, "git", source)
    ending = plugged.run(command="3")
    assert (ending.status, ending.size, ending.files) == ("success", 4711, 7)
    ending = plugged.run(command="4")
    assert (ending.status, ending.reason, ending.unreached) == ("failed", "git found no peace: 4", True)
    assert not plugged.run(command="5").unreached


RAISES = {
    "ValueError('no such branch')": "ValueError: no such branch",
    "SystemExit(3)": "SystemExit: 3",
    "KeyboardInterrupt()": "KeyboardInterrupt",
    "StopIteration()": "RuntimeError: generator raised StopIteration",
    "CannotRun('git is missing')": "CannotRun: git is missing",
    "OSError(28, 'No space left on device')": "OSError: [Errno 28] No space left on device",
    "GeneratorExit()": "GeneratorExit",
    "RecursionError('too deep')": "RecursionError: too deep",
    "Abort('success', 'all is well')": "it aborted the run with a status that is not one of a failed run",
    "Exception('a\\x1b[31m\\nb' * 999)": "Exception: a\\x1b[31m ba",
    "type('Mute', (Exception,), {'__str__': lambda self: 1 // 0})()": "Mute",
}


@pytest.mark.parametrize(("raised", "shown"), RAISES.items())
@pytest.mark.parametrize("before", ["", "yield Command(('true',), {}, '/')"])
def test_each_exception_of_commands_ends_the_run_as_failed_and_names_the_plug_in(
    plugged: Plugged, raised: str, shown: str, before: str
) -> None:
    plugin = plugged.add(
        PROVIDER, "git", f"def commands(job):\n    {before or 'pass'}\n    raise {raised}\n    yield\n"
    )
    ending = plugged.run()
    assert ending.status == "failed"
    assert ending.reason.startswith(f"the provider plug-in `git` ({plugin.module} of example 1.2) failed: {shown}")
    assert len(ending.reason) < 700 and "\x1b" not in ending.reason
    assert plugged.reports == []


def test_a_failure_names_the_line_and_leaves_the_traceback_in_the_log(plugged: Plugged) -> None:
    plugin = plugged.add(PROVIDER, "git", "def commands(job):\n    return deeper()\ndef deeper():\n    return 1 // 0\n")
    reason = plugged.run().reason
    assert "failed: ZeroDivisionError: " in reason and reason.endswith(f" by zero ({plugin.module}.py, line 6)")
    log = plugged.log.read_text()
    assert "Traceback" in log and "return 1 // 0" in log and reason in log


def test_a_provider_may_abort_a_run_with_its_own_reason(plugged: Plugged) -> None:
    plugged.add(PROVIDER, "git", "def commands(job):\n    raise Abort(REFUSED, 'the branch was rewritten')\n")
    ending = plugged.run()
    assert (ending.status, ending.reason) == ("refused", "the branch was rewritten")


WRONG = {
    "yield 'git clone'": "`commands` yielded a str instead of a Command",
    "yield Command('git clone', {}, '/')": "`commands` yielded a Command whose words are not all texts",
    "yield Command((), {}, '/')": "`commands` yielded a Command whose words are not all texts",
    "yield Command(('a\\0b',), {}, '/')": "`commands` yielded a Command whose words are not all texts",
    "yield Command(('echo', 1), {}, '/')": "`commands` yielded a Command whose words are not all texts",
    "yield Command(('echo',), {'A': None}, '/')": "`commands` yielded a Command whose words are not all texts",
    "yield Command(('echo',), 7, '/')": "`commands` yielded a Command that cannot be used: TypeError",
    "yield Command(('echo', '\\ud800'), {}, '/')": "`commands` yielded a Command whose words are not all texts",
    "yield Command(('echo',), {'A=B': 'x'}, '/')": "with a variable that cannot be named 'A=B'",
    "yield Command(('echo',), {'': 'x'}, '/')": "with a variable that cannot be named ''",
    "yield Command(('echo',), {'A': 'x' * 2**22}, '/')": "cannot be started: Argument list too long",
    "yield Command(('echo',), {}, '/no/such/folder')": "/no/such/folder",
    "return 7": "TypeError: 'int' object is not iterable",
    "job.exit_code = 10**30; yield from ()": "it set an exit code that is not a number from -255 to 255",
    "job.exit_code = None; yield from ()": "it set an exit code that is not a number",
}


@pytest.mark.parametrize(("line", "shown"), WRONG.items())
def test_commands_of_wrong_types_end_the_run_as_failed(plugged: Plugged, line: str, shown: str) -> None:
    plugged.add(PROVIDER, "git", f"def commands(job):\n    {line}\n")
    ending = plugged.run()
    assert ending.status == "failed" and shown in ending.reason, ending.reason
    assert plugged.reports == []


def bad_reader(line: str = "pass", findings: str = "return Findings()") -> str:
    return f"""
class Bad:
    def line(self, text):
        {line}
    def findings(self):
        {findings}

def reader(job):
    return Bad()
"""


READERS = {
    "line": bad_reader(line="1 // 0"),
    "a line without an end": bad_reader(line="while True: pass"),
    "findings": bad_reader(findings="1 // 0"),
    "a record": bad_reader(findings="return 1"),
    "a figure": bad_reader(findings="return Findings(size=10**30)"),
    "a text": bad_reader(findings="return Findings(size='1')"),
    "reader": "def reader(job): 1 // 0",
    "is_success": "def is_success(job, code): 1 // 0",
    "UNREACHED": "UNREACHED = 75",
}


@pytest.mark.parametrize("source", READERS.values(), ids=READERS)
def test_a_failure_after_the_processes_is_not_a_success(
    plugged: Plugged, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.run.logs.LINE_SECONDS", 0.2)
    plugged.add(PROVIDER, "git", f"{STARTS_ECHO}\n{source}\n")
    ending = plugged.run()
    assert ending.status == "failed"
    assert ending.reason.startswith("the provider plug-in `git` ("), ending.reason
    assert plugged.reports == []


def test_an_explanation_that_fails_leaves_the_exit_code(plugged: Plugged) -> None:
    source = "def commands(job): yield Command(('false',), {}, '/')\ndef explain(code): 1 // 0\n"
    plugged.add(PROVIDER, "git", source)
    ending = plugged.run()
    assert ending.status == "failed"
    assert ending.reason.startswith("the command exited with 1, and the provider plug-in `git` (")


def test_a_plug_in_that_is_gone_fails_the_runs_of_its_mirror_with_the_reason(plugged: Plugged) -> None:
    plugin = plugged.add(PROVIDER, "git", STARTS_ECHO)
    (plugged.packages / f"{plugin.module}.py").unlink()
    ending = plugged.run()
    assert ending.status == "failed"
    what = f"the provider plug-in `git` ({plugin.module} of example 1.2) cannot be imported: ModuleNotFoundError: "
    assert ending.reason.startswith(what) and ending.reason.endswith(
        "Reinstall it; `skipjack follow --again` tries it again"
    )
    plugged.plugins.clear()
    missing = "the plan does not have the hook plug-in `announce`. Run `skipjack follow --again`"
    assert plugged.run(provider="command", plugins={"announce": {}}).reason == missing
    reason = "the plan does not have the provider plug-in `git`. Run `skipjack follow --again`"
    assert plugged.run().reason == reason
    assert plugged.reports == []


@pytest.mark.parametrize("module", ["json", "os.path", "runner.cli", "schemas", "sys"])
def test_a_module_from_elsewhere_is_not_taken_for_a_plug_in(plugged: Plugged, module: str) -> None:
    plugin = plugged.add(PROVIDER, "git", STARTS_ECHO)
    (plugged.packages / f"{module}.py").write_text("1 // 0\n")
    plugged.plugins = [plugin._replace(module=module)]
    ending = plugged.run()
    assert ending.status == "failed" and f"WrongModuleError: Python imports `{module}" in ending.reason.replace(
        "`posixpath", "`os.path"
    ).replace("`ntpath", "`os.path")


def test_a_provider_cannot_switch_off_the_guard_against_losses(plugged: Plugged) -> None:
    source = """
    def commands(job):
        job.deletions_judged = True
        yield Command(("sh", "-c", "rm -f *"), {}, job.directory)
        job.deletions_judged = True
    """
    plugged.add(PROVIDER, "git", source)
    ending = plugged.run()
    assert ending.status == "refused" and "no file is left" in ending.reason


ALLOWED = ("/usr/bin/true", "/usr/bin/rsync", "/opt/tools/")
PROGRAMS = [
    pytest.param(("/usr/bin/true",), "", id="listed"),
    pytest.param(("true",), "", id="the name of a listed one"),
    pytest.param(("env", "true"), "would run `/usr/bin/env`, which this machine does not allow", id="another name"),
    pytest.param(("no-such-program",), "would run `no-such-program`, which this machine", id="no program"),
    pytest.param(("/usr/bin/env", "true"), "would run `/usr/bin/env`, which", id="another one"),
    pytest.param(("/opt/tools/../../usr/bin/env",), "would run `/opt/tools/../../usr/bin/env`", id="out of a folder"),
    pytest.param(("./true",), "would run `./true`", id="in the mirror"),
    pytest.param(
        ("/usr/bin/rsync", "-a", "/etc/", "."),
        "rsync would reach `/etc/`, which leads out of",
        id="rsync from elsewhere",
    ),
]


@pytest.mark.parametrize(("argv", "refused"), PROGRAMS)
def test_the_policy_judges_each_program_of_a_provider(
    plugged: Plugged, monkeypatch: pytest.MonkeyPatch, argv: tuple[str, ...], refused: str
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin")
    plugged.add(PROVIDER, "git", f"def commands(job):\n    yield Command({argv!r}, {{}}, job.directory)\n")
    plugged.programs = ALLOWED
    ending = plugged.run()
    if refused:
        assert ending.status == "refused" and refused in ending.reason
        assert ending.reason.startswith("the provider plug-in `git` (")
    else:
        assert ending.status == "success"


@pytest.mark.parametrize("then", ["pass", "if not child: 1 // 0"])
def test_a_provider_that_forks_does_not_make_a_second_run(plugged: Plugged, then: str) -> None:
    source = f"""
    import os
    def commands(job):
        child = os.fork()
        {then}
        if child:
            os.waitpid(child, 0)
        yield Command(("echo", "once"), {{}}, "/")
    """
    plugged.add(PROVIDER, "git", source)
    assert plugged.run().status == "success"
    assert plugged.log.read_text() == "once\n"


def test_the_second_command_is_judged_as_well(plugged: Plugged) -> None:
    source = """
    def commands(job):
        yield Command(("/usr/bin/true",), {}, "/")
        yield Command(("/bin/touch", "made"), {}, job.directory)
    """
    plugged.add(PROVIDER, "git", source)
    plugged.programs = ALLOWED
    assert plugged.run().status == "refused"
    assert not (plugged.directory / "made").exists()
    plugged.programs = None
    assert plugged.run().status == "success"
    assert (plugged.directory / "made").exists()


def test_hooks_are_called_by_name_and_backwards_after_a_run(plugged: Plugged) -> None:
    plugged.add(PROVIDER, "git", "def commands(job): yield Command(('sh', '-c', 'echo git'), {}, '/')\n")
    stages = ("pre_job", "pre_exec", "post_exec", "post_success", "post_fail")
    for name in ("b-hook", "a-hook"):
        lines = [f"def {stage}(job): job.write('{name} {stage}\\n')" for stage in stages]
        plugged.add(HOOK, name, "\n".join(lines))
    plugged.add(HOOK, "unused", "def pre_job(job): 1 // 0\n")
    del plugged.mirror.plugins["unused"]  # type: ignore[attr-defined]  # a plain dict in this test
    assert plugged.run().status == "success"
    assert plugged.log.read_text().splitlines() == [
        "a-hook pre_job", "b-hook pre_job", "a-hook pre_exec", "b-hook pre_exec", "git",
        "b-hook post_exec", "a-hook post_exec", "b-hook post_success", "a-hook post_success",
    ]  # fmt: skip


@pytest.mark.parametrize("stage", ["pre_job", "pre_exec", "post_exec"])
@pytest.mark.parametrize(("raised", "shown"), list(RAISES.items())[:3] + list(RAISES.items())[5:6])
def test_a_hook_that_fails_ends_the_run_as_failed(plugged: Plugged, stage: str, raised: str, shown: str) -> None:
    plugged.add(PROVIDER, "git", STARTS_ECHO)
    plugin = plugged.add(HOOK, "announce", f"def {stage}(job):\n    raise {raised}\n")
    ending = plugged.run()
    assert ending.status == "failed"
    assert ending.reason.startswith(f"the hook plug-in `announce` ({plugin.module} of example 1.2) failed: {shown}")
    assert plugged.reports == []


@pytest.mark.parametrize("stage", ["post_success", "post_fail"])
def test_a_hook_that_fails_once_the_result_is_known_is_shown_beside_it(plugged: Plugged, stage: str) -> None:
    code = "true" if stage == "post_success" else "false"
    plugged.add(PROVIDER, "git", f"def commands(job): yield Command(('{code}',), {{}}, '/')\n")
    plugin = plugged.add(HOOK, "announce", f"def {stage}(job):\n    raise ValueError('no bus')\n")
    ending = plugged.run()
    assert ending.status == ("success" if stage == "post_success" else "failed")
    assert plugged.job is not None
    assert [line.partition(" (announce")[0] for line in plugged.job.complaints] == [
        f"the hook plug-in `announce` ({plugin.module} of example 1.2) failed:"
        f" ValueError: no bus ({plugin.module}.py, line 4)"
    ]
    assert plugged.reports == []


def test_a_hook_works_with_a_built_in_provider(plugged: Plugged) -> None:
    plugged.add(HOOK, "announce", "def post_success(job): job.complain(f\"told {job.keys('announce')}\")\n")
    ending = plugged.run(provider="command", command="true", plugins={"announce": {"to": "irc"}})
    assert ending.status == "success" and ending.log_tail == "told {'to': 'irc'}"


FILE_KEYS: dict[str, dict[str, Any]] = {
    "exclude_file": {"exclude_file": "{}"},
    "--exclude-from": {"rsync_options": ("--exclude-from={}",)},
    "--include-from": {"rsync_options_extra": ("--include-from", "{}")},
    "--files-from": {"rsync_override": ("--files-from={}",)},
    "--filter": {"stage1_profile": ("merge {}",)},
}
"""The keys of a definition with which a plug-in may get the path of a pattern file."""

PASSES_ON = """
def commands(job):
    mirror = job.mirror
    words = [*mirror.rsync_options, *mirror.rsync_options_extra, *mirror.rsync_override]
    words += ["--exclude-from", mirror.exclude_file] if mirror.exclude_file else []
    words += [] if isinstance(mirror.stage1_profile, str) else [f"--filter={each}" for each in mirror.stage1_profile]
    yield Command((%r, *words), {}, job.directory)
"""


def test_an_altered_file_of_the_repository_keeps_a_plug_in_from_being_called(plugged: Plugged) -> None:
    """It may read the file itself, of which only a rsync would get a copy."""
    stored = plugged.folder / "repository-patterns" / ("0" * 40)
    stored.parent.mkdir()
    stored.write_text("- *.iso\n")
    plugged.add(PROVIDER, "git", STARTS_ECHO)
    plugged.pattern_files = (str(stored.parent),)
    ending = plugged.run(exclude_file=str(stored))
    assert "hello" not in plugged.log.read_text()
    assert (ending.status, "was altered; run `skipjack follow`" in ending.reason) == ("refused", True)


@pytest.mark.parametrize(("named", "fields"), FILE_KEYS.items())
def test_the_pattern_files_of_a_definition_are_judged_before_its_plug_in_is_called(
    plugged: Plugged, named: str, fields: dict[str, Any]
) -> None:
    """They were judged when it was planned, and a link may have taken their place since."""
    patterns, secret, shows = plugged.folder / "filters/patterns", plugged.folder / "secret", plugged.folder / "rsync"
    patterns.parent.mkdir()
    patterns.write_text("- a pattern\n")
    secret.write_text("a secret\n")
    # In the place of rsync, so that it shows which file it gets, after the file was swapped.
    shows.write_text(f"#!/bin/sh\nln -sf {secret} {patterns}\nfor word; do last=$word; done\ncat /${{last#*/}}\n")
    shows.chmod(0o755)
    plugged.pattern_files = (str(patterns.parent),)
    plugged.add(PROVIDER, "git", PASSES_ON % str(shows))
    filled = {
        key: tuple(each.replace("{}", str(patterns)) for each in value)
        if isinstance(value, tuple)
        else value.replace("{}", str(patterns))
        for key, value in fields.items()
    }

    assert plugged.run(**filled).status == "success"
    assert plugged.log.read_text() == "- a pattern\n"
    assert patterns.is_symlink()
    ending = plugged.run(**filled)

    assert ending.status == "refused"
    assert ending.reason.startswith(f"the `{named}` {patterns} is really {secret}, outside of the policy's `pattern_f")
    assert "secret" not in plugged.log.read_text().replace(str(secret), "")
