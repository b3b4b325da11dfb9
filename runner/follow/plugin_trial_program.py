"""The processes of a plug-in's trial, without site packages, as runs are started:

    plugin_trial_program.py watch SECONDS KIND NAME MODULE PATH VERSION DISTRIBUTION
    plugin_trial_program.py import DESCRIPTOR KIND NAME MODULE PATH VERSION DISTRIBUTION

The first one starts the second one, ends all that this leaves behind, and prints why the plug-in cannot be used.
"""

import os
import sys

if not __package__:  # started by its path: the packages lie beside each other, wherever they are installed
    sys.path.append(__file__.rsplit("/", 3)[0])

from runner.base import process_state
from runner.plugin_errors import described
from runner.plugin_loader import load
from schemas.plugins import PROVIDER, Plugin
from schemas.terminal import plain

MOST_OUTPUT = 64 * 1024
"""Bytes that the import of a module may print."""

_MOST_RESULT = 4000
"""Bytes of a reason: fewer than a pipe takes at once."""

STAGES = ("pre_job", "pre_exec", "post_exec", "post_success", "post_fail")
FUNCTIONS = ("commands", "is_success", "explain", "reader")
_DONE = "done"


def watch(seconds: float, words: list[str]) -> str:
    """Let another process import the module; return why the plug-in cannot be used, empty if it can."""
    from runner.subprocesses import supervisor
    from runner.subprocesses.pipes import ENOUGH, Enough

    printed = bytearray()

    def keep(data: bytes) -> None:
        printed.extend(data)
        if len(printed) > MOST_OUTPUT:
            raise Enough

    supervisor.adopt_orphans()
    source, channel = os.pipe()
    argv = [sys.executable, "-I", "-S", os.path.abspath(__file__), "import", str(channel), *words]
    os.set_inheritable(channel, True)  # under its own number, which the words above have
    exited = supervisor.run(argv, dict(os.environ), "/", 2, (), seconds, supervisor.Stop(), [keep], grace=0)
    os.close(channel)
    result = _read(source)
    if exited.code == ENOUGH:
        return f"cannot be imported: its import printed more than {MOST_OUTPUT // 1024} KiB"
    if exited.cause == supervisor.TIMED_OUT:
        return f"cannot be imported: its import did not end within {seconds:g} s"
    if not result:
        how = f"by signal {-exited.code}" if exited.code < 0 else f"with exit code {exited.code}"
        return f"cannot be imported: its import ended the process {how}{_last_line(bytes(printed))}"
    return "" if result == _DONE else result


def _read(source: int) -> str:
    os.set_blocking(source, False)
    try:
        return os.read(source, _MOST_RESULT).decode("utf-8", "replace")
    except BlockingIOError:  # a process of another user, as by sudo, is left and could still write
        return ""


def _last_line(printed: bytes) -> str:
    lines = printed.decode("utf-8", "replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f"; it printed: {plain(last[-200:])}" if last else ""


def try_import(plugin: Plugin) -> str:
    """Return why a plug-in cannot be used, empty if it can."""
    before, state = list(sys.path), process_state.current()
    try:
        module = load(plugin.module, plugin.path)
    except BaseException as error:  # also SystemExit and KeyboardInterrupt
        return f"cannot be imported: {described(error)}"
    if sys.path not in (before, [*before, plugin.path]):
        return "cannot be used: its import changes `sys.path`, where runs would then look for modules"
    if changed := process_state.difference(state, process_state.current()):
        return f"cannot be used: its import changes {changed}, which the whole process of a run shares"
    if _has_children():
        return "cannot be used: its import leaves processes behind"
    try:
        return _misshapen(module, plugin.kind)
    except BaseException as error:  # a module may have a `__getattr__`
        return f"cannot be used: {described(error)}"


def _has_children() -> bool:
    for thread in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{thread}/children", "rb") as file:
            if file.read():
                return True
    return False


def _misshapen(module: object, kind: str) -> str:
    """Return which part of its API a module lacks or has in a wrong form, empty if none."""
    known = FUNCTIONS if kind == PROVIDER else STAGES
    found = {name: getattr(module, name) for name in known if hasattr(module, name)}
    if kind == PROVIDER and "commands" not in found:
        return "cannot be used: its module has no function `commands`"
    if not found:
        return f"cannot be used: its module has none of the functions {', '.join(f'`{name}`' for name in STAGES)}"
    for name, value in found.items():
        if not callable(value):
            return f"cannot be used: `{name}` of its module is not a function"
    codes = getattr(module, "UNREACHED", ())
    if kind == PROVIDER and not all(isinstance(code, int) for code in codes):
        return "cannot be used: `UNREACHED` of its module is not a set of exit codes"
    return ""


def main(words: list[str]) -> None:
    """Run one of the two processes."""
    what, number, *fields = words
    if what == "watch":
        os.write(1, watch(float(number), fields).encode("utf-8", "replace"))
        return
    process = os.getpid()
    result = try_import(Plugin(*fields)) or _DONE
    if os.getpid() == process:  # not one that the import has forked
        os.write(int(number), result.encode("utf-8", "replace")[:_MOST_RESULT])
    os._exit(0)  # without what the module wants to do at exit


if __name__ == "__main__":
    main(sys.argv[1:])
