"""The trial import of a plug-in: whatever a module does, this process goes on and learns the reason."""

import json
import os
import sys
import textwrap
import time
from pathlib import Path

import pytest

from runner.follow.plugin_trial import why_broken
from schemas.plugins import HOOK, PROVIDER, Plugin

COMMANDS = "def commands(job):\n    yield from ()\n"


def plugin(folder: Path, source: str, kind: str = PROVIDER, name: str = "git") -> Plugin:
    packages = folder / "packages/example_plugin"
    packages.mkdir(parents=True, exist_ok=True)
    (packages / "__init__.py").touch()
    (packages / "module.py").write_text(textwrap.dedent(source))
    return Plugin(kind, name, "example_plugin.module", str(packages.parent), "1.2", "example")


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_module_of_the_right_form_is_usable(tmp_path: Path) -> None:
    everything = """
    from runner.plugin_api import Command, Job
    UNREACHED = frozenset({4})
    def commands(job): yield Command((), {}, "")
    def is_success(job, code): return True
    def explain(code): return ""
    def reader(job): return None
    """
    assert why_broken(plugin(tmp_path, COMMANDS)) == ""
    assert why_broken(plugin(tmp_path, everything)) == ""
    assert why_broken(plugin(tmp_path, "def post_fail(job): pass\n", HOOK)) == ""
    assert "example_plugin" not in sys.modules


BAD = {
    "import nowhere_at_all": "cannot be imported: ModuleNotFoundError: No module named 'nowhere_at_all'",
    "1 // 0": "cannot be imported: ZeroDivisionError: ",
    "def f(:": "cannot be imported: SyntaxError: ",
    "raise ValueError('It ends here.')": "cannot be imported: ValueError: It ends here (module.py, line 1)",
    "raise SystemExit(0)": "cannot be imported: SystemExit: 0",
    "import sys; sys.exit('no')": "cannot be imported: SystemExit: no",
    "raise KeyboardInterrupt": "cannot be imported: KeyboardInterrupt",
    "def f(): f()\nf()": "cannot be imported: RecursionError: maximum recursion depth exceeded",
    "raise BaseException('x\\ny\\x1b[1m' * 10**5)": "cannot be imported: BaseException: x y\\x1b[1m",
    "import os; os._exit(0)": "cannot be imported: its import ended the process with exit code 0",
    "import os; print('last words', flush=True); os._exit(7)": (
        "cannot be imported: its import ended the process with exit code 7; it printed: last words"
    ),
    "import os; os.kill(os.getpid(), 11)": "cannot be imported: its import ended the process by signal 11",
    "import os; os.kill(os.getppid(), 9)": "cannot be tried: its trial ended with the exit code -9",
    "import os; os.abort()": "cannot be imported: its import ended the process by signal 6",
    "print('x' * 10**7)": "cannot be imported: its import printed more than 64 KiB",
    "import sys\nwhile True: sys.stderr.write('y')": "cannot be imported: its import printed more than 64 KiB",
    "import sys; sys.path.insert(0, '/tmp')": "cannot be used: its import changes `sys.path`",
    "import sys; sys.path.clear()": "cannot be used: its import changes `sys.path`",
    "import signal; signal.signal(15, signal.SIG_IGN)": "cannot be used: its import changes how signals are handled, ",
    "import signal; signal.set_wakeup_fd(-1); signal.pthread_sigmask(0, [15])": "cannot be used: its import changes",
    "import os; os.umask(0o777)": "cannot be used: its import changes the umask, which the whole process of a run",
    "import os; os.chdir('/tmp')": "cannot be used: its import changes the working directory, which",
    "import os, time\nif not os.fork(): time.sleep(600)": "cannot be used: its import leaves processes behind",
    "import os\nos.fork()": "cannot be used: its import leaves processes behind",
    "import os\nif os.fork(): os._exit(0)": "cannot be imported: its import ended the process with exit code 0",
    "commands = 7": "cannot be used: `commands` of its module is not a function",
    "x = 1": "cannot be used: its module has no function `commands`",
    f"{COMMANDS}UNREACHED = 75": "cannot be used: TypeError: 'int' object is not iterable",
    f"{COMMANDS}UNREACHED = ['x']": "cannot be used: `UNREACHED` of its module is not a set of exit codes",
    f"{COMMANDS}explain = 'why'": "cannot be used: `explain` of its module is not a function",
}  # fmt: skip


@pytest.mark.parametrize(("source", "shown"), BAD.items())
def test_each_fault_of_a_module_has_its_reason(tmp_path: Path, source: str, shown: str) -> None:
    why = why_broken(plugin(tmp_path, source))
    assert why.startswith(f"the provider plug-in `git` (example_plugin.module of example 1.2) {shown}"), why
    assert len(why) < 700 and why.isprintable()


def test_a_hook_needs_one_of_the_functions_of_hooks(tmp_path: Path) -> None:
    why = why_broken(plugin(tmp_path, COMMANDS, HOOK, "announce"))
    assert why.startswith(
        "the hook plug-in `announce` (example_plugin.module of example 1.2) cannot be used: its module has none"
    )


def test_a_missing_module_and_one_from_elsewhere_are_named(tmp_path: Path) -> None:
    found = plugin(tmp_path, COMMANDS)
    assert "ModuleNotFoundError: No module named 'gone'" in why_broken(found._replace(module="gone"))
    assert "WrongModuleError: Python imports `json` from" in why_broken(found._replace(module="json"))
    assert "WrongModuleError" in why_broken(found._replace(path=str(tmp_path / "elsewhere"), module="runner.cli"))


HANGS = """
import os, signal, subprocess, sys, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
code = "import os, signal, time; signal.signal(15, signal.SIG_IGN); print(os.getpid(), flush=True); time.sleep(600)"
for session in (False, True):
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=session)
    with open({file!r}, "ab") as file:
        file.write(child.stdout.readline())
with open({file!r}, "a") as file:
    print(os.getpid(), file=file)
while True:
    time.sleep(1)
"""


def test_a_module_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    file = tmp_path / "pids"

    why = why_broken(plugin(tmp_path, HANGS.format(file=str(file))))

    assert why.endswith("cannot be imported: its import did not end within 10 s")
    pids = [int(line) for line in file.read_text().split()]
    assert len(pids) == 3
    deadline = time.monotonic() + 60
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in pids if is_alive(pid)], "also one in a session of its own"


def test_processes_of_a_module_end_although_its_import_succeeds(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    source = f"""
    import os
    if not os.fork():
        os.setsid()
        if os.fork():
            os._exit(0)
        with open({str(file)!r}, "w") as file:
            file.write(str(os.getpid()))
        import time; time.sleep(600)
    os.wait()
    import time
    while not os.path.exists({str(file)!r}) or not os.path.getsize({str(file)!r}): time.sleep(0.01)
    def commands(job): pass
    """
    assert why_broken(plugin(tmp_path, source)) == ""
    assert not is_alive(int(file.read_text()))


SURROUNDINGS = f"""
import json, os, sys
seen = {{
    "env": dict(os.environ), "stdin": sys.stdin.read(), "cwd": os.getcwd(), "argv": sys.argv[1:2],
    "open": sorted(os.listdir("/proc/self/fd")), "session": os.getsid(0) == os.getpid(), "uid": os.getuid(),
}}
with open(os.path.join(os.path.dirname(__file__), "seen.json"), "w") as file:
    json.dump(seen, file)
{COMMANDS}
"""


def test_a_module_sees_no_secret_no_input_and_no_descriptor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RSYNC_PASSWORD", "hidden")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/x")
    inherited = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(inherited, True)
    try:
        assert why_broken(plugin(tmp_path, SURROUNDINGS)) == ""
    finally:
        os.close(inherited)

    seen = json.loads((tmp_path / "packages/example_plugin/seen.json").read_text())
    assert set(seen["env"]) <= {"PATH", "HOME", "LC_ALL"}, "names that a program can need"
    assert (seen["stdin"], seen["cwd"], seen["session"], seen["uid"]) == ("", "/", True, os.getuid())
    assert len(seen["open"]) <= 5, "three streams, the channel of the result, and the list itself"
