"""Runs as systemd units: start them with their limits, and find out why one could not start.

Each run is a `skipjack-run@NAME.service`, so that its processes, memory and log lines are its own, and so that it
outlives the tick that started it. `launch.service_manager` finds out whether there are units.
"""

import contextlib
import os
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from runner.base.output import log
from runner.subprocesses import spawn
from schemas.mirror_record import Mirror
from schemas.regular_files import regular
from schemas.standard_streams import WARNING

PATIENCE = 20.0
"""Seconds to wait for an answer of the service manager."""

_PATIENCE_PER_UNIT = 0.5
"""Further seconds for each unit: polkit is asked about each, which takes 16 ms on an idle machine."""

_UNIT = r"skipjack-run@([A-Za-z0-9][A-Za-z0-9._-]{0,63})\.service"
_NEVER = float("inf")
_PENDING = ("active", "activating", "deactivating", "reloading")

_WITHOUT_PROCESS = ("resources", "start-limit-hit", "exec-condition")
"""Results of units that never started a process."""

_NO_CREDENTIAL = "243"  # EXIT_CREDENTIALS

_STEPS = {
    200: "its working directory is missing",
    203: "its program cannot be executed",
    217: "its user does not exist",
    226: "a folder that it may write to is missing",
    243: "a credential is missing",
}
"""systemd's exit codes for failures before the program starts, see systemd.exec(5)."""


class UnitOutcome(NamedTuple):
    """The state of a unit: whether it is still active, why it failed (empty if it did not), and when its main process
    started, in whole seconds since 1970 (infinite for a failure without a process).
    """

    pending: bool
    failure: str
    started_at: float

    def is_of_before(self, launched_at: float) -> bool:
        """Return whether this is the outcome of an earlier run than the one launched at that time."""
        # Cut to whole seconds, as systemd's own time is.
        return not self.pending and (not self.failure or self.started_at < int(launched_at))


def unit(name: str) -> str:
    """Return the unit of a mirror's runs."""
    return f"skipjack-run@{name}.service"


def start(manager: tuple[str, ...], run_dir: str, mirrors: Mapping[str, Mirror]) -> dict[str, str]:
    """Set the limits of these mirrors' units where they have changed, and start them in one call, without waiting.

    Return the reason for each that could not be started. If the service manager does not answer, the units may have
    started; the next tick finds out.
    """
    failed: dict[str, str] = {}
    for name, mirror in mirrors.items():
        reason = _limit(manager, run_dir, name, mirror)
        if reason:
            failed[name] = reason
    names = [name for name in mirrors if name not in failed]
    return failed | (_start(manager, names) if names else {})


def _start(manager: tuple[str, ...], names: list[str]) -> dict[str, str]:
    # Without `--no-block` a tick would wait for mounts that the units require. Without `--no-ask-password` polkit would
    # ask a person at the terminal instead of refusing.
    words = (*manager, "--no-ask-password", "--no-block", "start", *map(unit, names))
    try:
        code, said = spawn.ask(words, PATIENCE + _PATIENCE_PER_UNIT * len(names))
    except spawn.TooSlow as error:
        what = f"{error} to the start of {len(names)} runs; the next tick checks them"
        log(what, about="tick", level=WARNING)
        return {}
    except spawn.CannotStart as error:
        return dict.fromkeys(names, str(error))
    if code == 0:
        return {}
    # The first line about a unit is the reason; the next one may say where to find more.
    lines = {found.group(1): line for line in reversed(said.splitlines()) if (found := re.search(_UNIT, line))}
    if lines:
        return {name: _refusal(lines[name]) for name in names if name in lines}
    return dict.fromkeys(names, _refusal(said))


def stop(manager: tuple[str, ...], name: str) -> str:
    """Stop a mirror's unit without waiting for it; return the reason if that is refused, else empty."""
    code, said = _ask(*manager, "--no-ask-password", "--no-block", "stop", unit(name))
    return _refusal(said) if code else ""


def _limit(manager: tuple[str, ...], run_dir: str, name: str, mirror: Mirror) -> str:
    """Set a unit's limits to those of its mirror's definition if they differ; return the reason if that fails.

    A file in the run directory records the current limits. Both are gone after a reboot.
    """
    wanted = " ".join(_properties(mirror))
    path = os.path.join(run_dir, "limits", name)
    if wanted == _content(path):
        return ""
    # Empty values reset the limits that an earlier definition has set.
    properties = wanted.split() or ["MemoryMax=infinity", "CPUQuota=", "IOWeight="]
    code, said = _ask(*manager, "--no-ask-password", "set-property", "--runtime", unit(name), *properties)
    if code:
        return f"cannot set its limits: {_refusal(said)}"
    with contextlib.suppress(OSError):  # without the file they are set again the next time
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="ascii", opener=regular) as file:
            file.write(wanted)
    return ""


def _properties(mirror: Mirror) -> list[str]:
    """Return all limits if there is one, so that a removed limit is lifted; nothing for a mirror without limits."""
    if mirror.docker_image or not (mirror.memory_limit or mirror.cpu_limit or mirror.io_weight):
        return []
    return [
        f"MemoryMax={mirror.memory_limit or 'infinity'}",
        f"CPUQuota={mirror.cpu_limit}",
        f"IOWeight={mirror.io_weight or ''}",
    ]


def _content(path: str) -> str:
    try:
        with open(path, encoding="ascii", opener=regular) as file:
            return file.read()
    except (FileNotFoundError, UnicodeDecodeError):
        return ""


def outcomes(manager: tuple[str, ...], names: Iterable[str]) -> dict[str, UnitOutcome]:
    """Return the outcome of these mirrors' units by mirror, without those that the service manager does not know."""
    properties = "Id,ActiveState,Result,ExecMainStatus,ExecMainStartTimestamp,Job,Requires"
    blocks = show(manager, properties, map(unit, names))
    lacking = _lacking_mounts(manager, blocks)
    return {
        found.group(1): _outcome(block, lacking) for block in blocks if (found := re.match(_UNIT, block.get("Id", "")))
    }


def show(manager: tuple[str, ...], properties: str, names: Iterable[str]) -> list[dict[str, str]]:
    """Return properties of units, a dict for each that the service manager knows."""
    _code, said = _ask(*manager, "show", "--timestamp=unix", f"--property={properties}", *names)
    return [dict(line.partition("=")[::2] for line in block.splitlines()) for block in said.split("\n\n")]


def _lacking_mounts(manager: tuple[str, ...], blocks: Iterable[Mapping[str, str]]) -> Mapping[str, str]:
    """Return the missing mounts that inactive units require, with their state.

    systemd drops the start of such a unit, whose properties are then still those of its run before.
    """
    needed = {word for block in blocks if not _is_pending(block) for word in block.get("Requires", "").split()}
    mounts = sorted(word for word in needed if word.endswith(".mount"))
    shown = show(manager, "Id,ActiveState,Job", mounts) if mounts else []
    states = {block["Id"]: block.get("ActiveState", "") for block in shown if "Id" in block and not _is_pending(block)}
    words = {"failed": "failed", "inactive": "is not mounted"}
    return {name: words[state] for name, state in states.items() if state in words}


def _is_pending(found: Mapping[str, str]) -> bool:
    return found.get("ActiveState") in _PENDING or found.get("Job", "0") not in ("", "0")


def _outcome(found: Mapping[str, str], lacking_mounts: Mapping[str, str]) -> UnitOutcome:
    pending = _is_pending(found)
    result, status = found.get("Result", ""), found.get("ExecMainStatus", "")
    lacking = sorted(lacking_mounts.keys() & {*found.get("Requires", "").split()})
    if lacking and not pending:
        why = f"it needs {lacking[0]}, which {lacking_mounts[lacking[0]]}; see `systemctl status {lacking[0]}`"
        return UnitOutcome(False, f"its unit could not start: {why}", _NEVER)
    begun = found.get("ExecMainStartTimestamp", "").removeprefix("@")
    started_at = float(begun) if begun.isdigit() and result not in _WITHOUT_PROCESS else _NEVER
    if pending or result in ("", "success"):
        return UnitOutcome(pending, "", started_at)
    why = f"{cause(result, status)}; {where_to_look(status, found['Id'])}"
    return UnitOutcome(False, f"its unit could not start: {why}", started_at)


def where_to_look(status: str, name: str) -> str:
    """Return what to do or where to look for the failure of a unit with that exit status."""
    if status == _NO_CREDENTIAL:  # whose file no message of systemd names
        where = f"write it into the file that `LoadCredential=` names in `systemctl cat {name}`"
        return f"{where}; systemd calls this “Protocol error”"
    return f"see `systemctl status {name}`"


def cause(result: str, status: str) -> str:
    """Return a unit's result and its program's exit status in words."""
    meaning = _STEPS.get(int(status), "") if status.isdigit() else ""
    return f"{meaning} ({result} {status})" if meaning else f"{result} {status}".strip()


def revive(manager: tuple[str, ...], verb: str, names: Iterable[str]) -> str:
    """`start` units again, or `try-restart` those that are active; return the reason if that is refused, else empty."""
    code, said = _ask(*manager, "--no-ask-password", verb, *names)
    return _refusal(said) if code else ""


def _ask(*words: str) -> tuple[int, str]:
    """Return the service manager's exit code and output; 1 and the reason if it cannot be run or hangs."""
    try:
        return spawn.ask(words, PATIENCE)
    except spawn.CannotStart as error:
        return 1, str(error)


def _refusal(said: str) -> str:
    """Return the service manager's output as one line, with what to do about known failures."""
    line = " ".join(said.split()) or "the service manager refused it without a message"
    if "uthentication" in line or "Access denied" in line or "polkit" in line:
        return f"{line} (run `skipjack install` again, as root: the polkit rule is missing or polkit is not running)"
    if "not found" in line or "not loaded" in line:
        return f"{line} (run `skipjack install` again, as root)"
    return line
