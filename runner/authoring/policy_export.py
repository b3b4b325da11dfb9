"""`skipjack policy export`: the policies of workers as files for a config repository, which checks pull requests with
them.
"""

import os
from pathlib import Path

from runner.authoring import policy_fetch
from runner.base.mirror_paths import lies_in
from runner.base.output import log, say
from runner.base.privileges import become_owner
from runner.importing.writing import write_all
from runner.importing.yaml_text import block
from schemas.config import exported_policy
from schemas.config.exported_policy import ExportedPolicy
from schemas.config.settings import load_policy_of, load_runner
from schemas.config.sources import MAX_BYTES, POLICIES
from schemas.errors import SkipjackError
from schemas.problems import InvalidConfigError
from schemas.regular_files import read_regular
from schemas.release import version

_HEAD = """\
# What the machine of the worker {} allows, for checks of pull requests. Written by `skipjack policy export`: do not
# edit it. The worker ignores this file, and judges by its own policy.
"""


def export(settings: Path, into: Path | None) -> None:
    """Print the exported policy of the worker with these settings, or write it to the config repository `into`.

    SkipjackError if settings or policy cannot be read, or the folder is none with definitions.
    """
    exported = _own(settings)
    if into is None:
        say(_text(exported).removesuffix("\n"), has_addresses=False)
    else:
        write(into, [exported])


def export_all(url: str, token_file: str, ca_cert: str | None, into: Path) -> None:
    """Write the policies of all workers that report to a manager to a config repository.

    SkipjackError if they cannot be fetched, or the folder is none with definitions.
    """
    require_definitions(into)
    write(into, policy_fetch.fetch(url, token_file, ca_cert))


def require_definitions(into: Path) -> None:
    """Raise SkipjackError if a folder is none with definitions, or its policies lead out of it."""
    if not (into / "_site.yml").is_file():
        raise SkipjackError(f"{into} has no `_site.yml`.", "Name the folder of the definitions, which contains it.")
    if not lies_in(str(into / POLICIES), str(into)):
        raise SkipjackError(f"{into / POLICIES} leads out of {into} by a link.", "Remove the link.")


def write(into: Path, exported: list[ExportedPolicy]) -> None:
    """Write exported policies to a config repository, aside and renamed; those that judge as before stay as they are.

    SkipjackError if the folder is none with definitions. Root writes as the owner of the folder.
    """
    into = into.absolute()
    folder = into / POLICIES
    require_definitions(into)
    become_owner(str(into))
    for each in exported:
        path = folder / f"{each.worker}.yml"
        if _digest(path) == each.digest:
            log(f"{path} is up to date", about="policy")
            continue
        write_all({str(path): _text(each)}, folder_mode=0o755, mode=0o644)
        log(f"wrote {path}; commit it to the config repository", about="policy")


def _own(path: Path) -> ExportedPolicy:
    settings = load_runner(path)
    try:
        owner = os.stat(settings.state_dir).st_uid
    except OSError:  # the worker has not run yet
        owner = os.geteuid()
    return exported_policy.exported(settings, load_policy_of(Path(settings.policy), owner), version())


def _text(exported: ExportedPolicy) -> str:
    return _HEAD.format(exported.worker) + block(exported_policy.as_plain(exported))


def _digest(path: Path) -> str:
    """Return the digest of an exported policy; empty if the file is missing or invalid."""
    try:
        return exported_policy.read(str(path), read_regular(path, MAX_BYTES)).digest
    except (OSError, InvalidConfigError):
        return ""
