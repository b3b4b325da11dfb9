"""The files of a new config repository: which there are, for which forge, and with what text."""

import os
import re
import shlex
from collections.abc import Mapping
from typing import NamedTuple

from runner.authoring import editor_files, shared_jobs
from runner.authoring.shared_jobs import SharedJobs
from runner.importing.yaml_text import scalar
from schemas import VERSION
from schemas.config.schema_set import OWN, SchemaSet

_TEMPLATES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "templates")
_VALUE = re.compile(r"%\{(\w+)\}")

GITHUB, GITLAB, FORGEJO, NONE = "github", "gitlab", "forgejo", "none"
FORGES = (GITHUB, GITLAB, FORGEJO, NONE)

_DEFINITIONS = {
    "_workers.yml": "workers.yml",
    "_defaults.yml": "defaults.yml",
    "example.yml": "example.yml",
    # Last: it makes a folder a config repository, so `init` can be repeated after a crash before it.
    "_site.yml": "site.yml",
}
_FOR_PEOPLE = {"README.md": "readme.md", ".editorconfig": "editorconfig", ".vscode/settings.json": "vscode.json"}

CI_FILES = {
    GITHUB: ".github/workflows/skipjack.yml",
    GITLAB: ".gitlab-ci.yml",
    FORGEJO: ".forgejo/workflows/skipjack.yml",
}
"""The file of each forge that runs the checks; forges read it only at the top of a repository."""

_COMMENT_FILES = {
    GITHUB: ".github/workflows/skipjack-comment.yml",
    FORGEJO: ".forgejo/workflows/skipjack-comment.yml",
}
"""The files that write plans into pull requests; that of GitLab is in its other one."""

_SHARED = {GITHUB: shared_jobs.of_github, GITLAB: shared_jobs.of_gitlab, FORGEJO: shared_jobs.of_forgejo}

_FORMS = {
    GITHUB: {
        ".github/CODEOWNERS": "codeowners",
        ".github/pull_request_template.md": "change-request.md",
        ".github/ISSUE_TEMPLATE/mirror.yml": "mirror-request.yml",
    },
    GITLAB: {
        ".gitlab/CODEOWNERS": "codeowners",
        ".gitlab/merge_request_templates/Default.md": "change-request.md",
        ".gitlab/issue_templates/Mirror.md": "mirror-request.md",
    },
    FORGEJO: {
        "CODEOWNERS": "codeowners-forgejo",
        ".forgejo/pull_request_template.md": "change-request.md",
        ".forgejo/issue_template/mirror.yml": "mirror-request.yml",
    },
}
"""Files for reviews and requests, which concern a whole repository."""


class SiteFacts(NamedTuple):
    """What the files say: of the site, its first worker, and what CI installs, as pip takes it (empty if unknown)."""

    title: str
    time_zone: str
    worker: str
    source: str = ""


def definitions(facts: SiteFacts, forge: str = NONE, schemas: SchemaSet = OWN) -> dict[str, str]:
    """Return the files of the folder of definitions by path, those of editors included."""
    values = _values(facts, forge, ".")
    files = {path: filled(name, values) for path, name in (_FOR_PEOPLE | _DEFINITIONS).items()}
    return editor_files.wanted(schemas) | files


def of_forge(facts: SiteFacts, forge: str, folder: str) -> dict[str, str]:
    """Return the files of a forge by path in the repository.

    `folder` is that of the definitions. If other things are in the repository as well, it gets the checks alone.
    """
    if forge == NONE:
        return {}
    named = _jobs(facts.source, forge) | (_FORMS[forge] if folder == "." else {})
    return {path: filled(name, _values(facts, forge, folder)) for path, name in named.items()}


def job_files(facts: SiteFacts, forge: str) -> list[str]:
    """Return the paths of the files of a forge that run checks and comment."""
    return [] if forge == NONE else [*_jobs(facts.source, forge)]


def _jobs(source: str, forge: str) -> dict[str, str]:
    """Return the templates of the jobs by path: those that use shared ones, or one that needs none."""
    if _SHARED[forge](source) is None:
        return {CI_FILES[forge]: f"{forge}.yml"}
    comment = {_COMMENT_FILES[forge]: f"{forge}-comment.yml"} if forge in _COMMENT_FILES else {}
    return {CI_FILES[forge]: f"{forge}-jobs.yml"} | comment


def _values(facts: SiteFacts, forge: str, folder: str) -> dict[str, str]:
    shared = (_SHARED[forge](facts.source) if forge in _SHARED else None) or SharedJobs("", "")
    return {
        "shared": shared.place,
        "revision": shared.revision,
        "path": scalar(folder),
        "plan": shlex.join(["skipjack", "plan", "HEAD^1..HEAD", "--path", folder, "--format", "markdown"]),
        "title": scalar(facts.title),
        "time_zone": scalar(facts.time_zone),
        "worker": scalar(facts.worker),
        "source": scalar(facts.source),
        "version": VERSION,
        "validate": _validate(folder),
        "report": _validate(folder, "--format", "gitlab" if forge == GITLAB else "github"),
        "request": "merge request" if forge == GITLAB else "pull request",
        "ci_rule": f"/{'.gitlab-ci.yml' if forge == GITLAB else '.github/':<17}",
        "heading": facts.title,
    }


def _validate(folder: str, *options: str) -> str:
    return shlex.join(["skipjack", "validate", *([] if folder == "." else [folder]), *options])


def filled(name: str, values: Mapping[str, str]) -> str:
    """Return a template with its values."""
    with open(os.path.join(_TEMPLATES, name), encoding="utf-8") as file:
        return _VALUE.sub(lambda match: values[match[1]], file.read())
