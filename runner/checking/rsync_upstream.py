"""Ask an rsync daemon whether it has a module and a path, with rsync itself, which lists only that path."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from runner.base import environment
from runner.checking.upstream_answers import FINE, UNASKED, Question, UpstreamAnswer, doubtful, missing, quoted
from runner.subprocesses import spawn
from schemas.config.upstreams import daemon_host
from schemas.problems import shown

PORT = 873

_ADDRESS = re.compile(
    r"rsync://(?:[^/@]*@)?(?:\[[^\]]*\]|[^:/]*)(?::([0-9]+))?/(.*)|(?:[^/@]*@)?(?:\[[^\]]*\]|[^:/]*)::(.*)"
)
# No pattern is sent that could be a secret, and the server sends no list: it excludes all that is below the path.
_OPTIONS = ("--list-only", "--no-motd", "--exclude=*", "--contimeout=10", "--timeout=15")
_TIME = 30.0
_MOST = 16 * 1024
"""Bytes of rsync's messages: they contain the server's."""

_ANSWERED = (5, 12, 23)
"""Exit codes of rsync after an answer of the daemon: another address of the same host would give the same."""

_TEXTS: Sequence[tuple[str, str]] = (
    (r"@ERROR: unknown module", "module"),
    (r"@ERROR:.*(?:max(?:imum)? (?:number of )?connections|too many|try again later|busy|limit)", "busy"),
    (r"@ERROR: auth failed", "password"),
    (r"@ERROR: access denied", "denied"),
    (r"(?:change_dir|link_stat|chdir|stat) .*failed: (?:No such file or directory|Not a directory)", "path"),
    (r"failed to connect.*Connection refused", "refused"),
)
_KINDS = [(re.compile(pattern, re.IGNORECASE), kind) for pattern, kind in _TEXTS]


class DaemonPlace(NamedTuple):
    """Where an rsync daemon listens, and the module with the path below it."""

    host: str
    port: int
    path: str


def daemon_place(question: Question) -> DaemonPlace | None:
    """Return the place that an address names; None if it is not that of an rsync daemon."""
    host, found = daemon_host(question.upstream), _ADDRESS.fullmatch(question.upstream)
    if host is None or found is None:
        return None
    path = found[2] if found[3] is None else found[3]
    return DaemonPlace(host, int(found[1] or question.port or PORT), path)


def ask(place: DaemonPlace, addresses: Sequence[str], question: Question) -> UpstreamAnswer:
    """Ask the daemon at the first address that can be reached. Raises CannotStart if this machine has no rsync."""
    answer = UpstreamAnswer(UNASKED)
    for address in addresses:
        code, said = _listed(place, address)
        if code == 0:
            return UpstreamAnswer(FINE)
        answer = _judged(code, said, place, question)
        if code in _ANSWERED:
            break
    return answer


def _listed(place: DaemonPlace, address: str) -> tuple[int, str]:
    server = f"[{address}]" if ":" in address else address
    words = ["rsync", *_OPTIONS, "--", f"rsync://{server}:{place.port}/{place.path}"]
    # Nothing of this machine's environment: no password, no proxy, no program to connect with, no file of options.
    env = {"PATH": environment.search_path(()), "LC_ALL": "C", "HOME": "/nonexistent"}
    return spawn.ask_stranger(words, env, _TIME, _MOST)


def _kind(said: str) -> str:
    return next((kind for pattern, kind in _KINDS if pattern.search(said)), "")


def _judged(code: int, said: str, place: DaemonPlace, question: Question) -> UpstreamAnswer:
    module = place.path.partition("/")[0]
    match _kind(said):
        case "module":
            what = f"the daemon of `{shown(place.host)}` does not have the module `{shown(module)}`"
            return missing(question, what, f"`rsync rsync://{shown(place.host)}/` lists its modules.")
        case "path":
            what = f"the daemon of `{shown(place.host)}` does not have the directory `{shown(place.path)}`"
            return missing(question, what, "Check the path.")
        case "refused":
            what = f"`{shown(place.host)}` refuses connections to port {place.port}"
            return missing(question, what, "Check host and port, and that it offers rsync.")
        case "busy":
            return doubtful(
                f"the daemon of `{shown(place.host)}` has too many connections now", "Run the check again later."
            )
        case "denied":
            what = f"the daemon of `{shown(place.host)}` does not admit this machine"
            return doubtful(what, "Check that it admits the worker.")
        case "password" if question.has_password:
            return UpstreamAnswer(UNASKED)
        case "password":
            what = f"the daemon of `{shown(place.host)}` demands a password for the module `{shown(module)}`"
            return doubtful(what, "Set `username` and `password`.")
    if code < 0:
        return doubtful(f"the daemon of `{shown(place.host)}` did not answer in time, or sent too much")
    return doubtful(
        f"the daemon of `{shown(place.host)}` cannot be asked: {quoted(_reason(said)) or f'exit code {code}'}"
    )


def _reason(said: str) -> str:
    """Return the first line that is not rsync's own summary."""
    lines = [line.removeprefix("Password: ") for line in said.splitlines()]
    return next((line for line in lines if line.strip() and not line.startswith("rsync error:")), "")
