"""`skipjack import tunasync`: from the configuration of a tunasync worker to a config repository."""

import os

from runner.base.output import say
from runner.importing.definitions import read
from runner.importing.draft import draft
from runner.importing.writing import Targets, write
from schemas.errors import SkipjackError

RUNNER, POLICY = "runner.yml", "policy.yml"


def import_tunasync(path: str, into: str, secrets: str | None, *, force: bool) -> int:
    """Write the repository into a folder, and the machine's settings and policy beside it; print all findings.

    Return the exit code, which is 1 if there are findings.
    """
    into = os.path.abspath(into)
    folder = os.path.abspath(secrets or "secrets")
    found = draft(read(path), folder)
    if found.passwords and secrets is None:
        raise SkipjackError(
            f"the configuration has passwords: {', '.join(sorted(found.passwords))}.",
            "Name a folder for them on the machine of the worker with `--secrets DIR`.",
        )
    settings, policy = (os.path.join(os.path.dirname(into), name) for name in (RUNNER, POLICY))
    write(found, Targets(into, folder, settings, policy), force=force)
    for finding in found.findings:
        say(str(finding))
    _show("settings", settings, found.runner)
    say("`start: held` keeps every run from starting until `skipjack release`; docs/from-tunasync.md has the steps.")
    if found.policy:
        _show("policy", policy, found.policy)
    if found.passwords:
        say(f"Passwords, in {folder}: {len(found.passwords)}")
    say(f"Mirrors, in {into}: {found.mirrors}; not kept as it was: {len(found.findings)}")
    return 1 if found.findings else 0


def _show(what: str, path: str, text: str) -> None:
    say(f"The {what} of the machine, in {path}:")
    say("".join(f"  {line}\n" for line in text.splitlines()).rstrip("\n"))
