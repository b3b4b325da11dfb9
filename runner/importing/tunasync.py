"""`skipjack import tunasync`: from the configurations of the workers of a site to a config repository."""

import os
from collections.abc import Sequence

from runner.base.output import say
from runner.importing import several, shared_keys
from runner.importing.definitions import read
from runner.importing.draft import Draft, draft
from runner.importing.findings import Finding
from runner.importing.writing import ImportedFiles, machine_files, without_head, write
from schemas.errors import SkipjackError

STEPS = "docs/from-tunasync.md has the steps."


def import_tunasync(paths: Sequence[str], into: str, secrets: str | None, *, force: bool) -> int:
    """Write the repository into a folder, and each machine's settings and policy beside it; print all findings.

    Return the exit code, which is 1 if there are findings. SkipjackError if two files are of the same worker.
    """
    into, folder = os.path.abspath(into), os.path.abspath(secrets or "secrets")
    configs = [read(path) for path in paths]
    if len(paths) == 1:
        (only,) = drafts = [draft(configs[0], folder)]
        output, findings = _output([only], only.files, into, folder), only.findings
    else:
        several.require_different_workers(configs)
        drafts = [draft(each, os.path.join(folder, shared_keys.worker(each, []))) for each in configs]
        files, findings = several.together(drafts)
        output = _output(drafts, files, into, folder)
    if output.passwords and secrets is None:
        names = sorted({name for each in drafts for name in each.passwords})
        raise SkipjackError(
            f"the configuration has passwords: {', '.join(names)}.",
            "Name a folder for them on the machine of the worker with `--secrets DIR`.",
        )
    write(output, force=force)
    show(output, findings, STEPS)
    return 1 if findings else 0


def _output(drafts: Sequence[Draft], files: several.Files, into: str, secrets: str) -> ImportedFiles:
    passwords: dict[str, str] = {}
    machine: dict[str, str] = {}
    for each in drafts:
        folder = secrets if len(drafts) == 1 else os.path.join(secrets, each.worker)
        passwords |= {os.path.join(folder, name): f"{word}\n" for name, word in each.passwords.items()}
        prefix = "" if len(drafts) == 1 else f"{each.worker}-"
        machine |= machine_files(os.path.dirname(into), prefix, each.runner, each.policy, program="tunasync")
    return ImportedFiles(into, files, secrets, passwords, machine)


def show(output: ImportedFiles, findings: Sequence[Finding], steps: str) -> None:
    """Print the findings, and what was written."""
    for finding in findings:
        say(str(finding))
    for path, text in output.machine.items():
        kind = "policy" if path.endswith("policy.yml") else "settings"
        say(f"The {kind} of the machine, in {path}:")
        say("".join(f"  {line}\n" for line in without_head(text).splitlines()).rstrip("\n"))
    say(f"`start: held` keeps every run from starting until `skipjack release`; {steps}")
    if output.passwords:
        say(f"Passwords, in {output.secrets}: {len(output.passwords)}")
    count = sum(not os.path.basename(name).startswith("_") for name in output.files)
    say(f"Mirrors, in {output.into}: {count}; not kept as it was: {len(findings)}")
