"""What a follow that a person typed says of secrets that the worker's user cannot read."""

import os
import pwd

from runner.base import secret_files
from runner.base.output import log
from runner.base.state_dir import Places
from runner.follow import trial
from runner.subprocesses import units
from schemas.records import RunnerSettings


def warn(settings: RunnerSettings) -> None:
    """Print which files with secrets this user, who is the worker's, cannot read, and the commands that let it."""
    places, token = Places(settings.state_dir), settings.manager.token if settings.manager else None
    with trial.planned(settings) as opened:
        files = secret_files.named((token.file if token else None) or "", [each.mirror for each in opened.mirrors()])
    folders = (settings.state_dir, settings.run_dir, settings.log_dir, settings.mirror_root)
    seen = folders if units.service_manager(places) == units.OF_SYSTEM else None
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return  # a number without a name, as in containers; a run says what it cannot read
    for warning in secret_files.warnings(files, secret_files.Reader(user, seen)):
        log(warning)
