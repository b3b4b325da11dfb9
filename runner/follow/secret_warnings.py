"""Warnings about secrets that the worker's user cannot read, for a follow that a person typed."""

import os
import pwd

from runner.base import secret_files
from runner.base.output import log
from runner.base.state_dir import StateLayout
from runner.follow import trial
from runner.subprocesses import launch
from schemas.records import RunnerSettings
from schemas.standard_streams import WARNING


def warn(settings: RunnerSettings) -> None:
    """Print which secret files this user, the worker's, cannot read, and the commands that make them readable."""
    layout, token = StateLayout(settings.state_dir), settings.manager.token if settings.manager else None
    with trial.planned(settings) as opened:
        files = secret_files.named((token.file if token else None) or "", [each.mirror for each in opened.mirrors()])
    folders = (settings.state_dir, settings.run_dir, settings.log_dir, settings.mirror_root)
    seen = folders if launch.service_manager(layout) == launch.OF_SYSTEM else None
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return  # a user ID without an account, as in containers; runs report what they cannot read
    for warning in secret_files.warnings(files, secret_files.SecretReader(user, seen)):
        log(warning, about="follow", level=WARNING)
