"""Sends the worker's exported policy to a manager that asks for it, since its digest in the reports has changed.

It is sent apart from reports, so a manager that rejects it gets all reports nevertheless.
"""

from pathlib import Path

from runner.base.output import log
from runner.courier.client import ManagerClient
from schemas.config import exported_policy
from schemas.config.settings import load_policy, load_runner
from schemas.errors import SkipjackError
from schemas.release import version
from schemas.standard_streams import WARNING


def send(file: Path, client: ManagerClient) -> None:
    """Send the policy of the worker with this settings file, as both are now; log a failure. The manager asks again.

    A lingering courier has settings of its start, and the digest in its reports is of the last follow.
    """
    try:
        settings = load_runner(file)
        exported = exported_policy.exported(settings, load_policy(Path(settings.policy)), version())
        client.send_policy(exported_policy.as_plain(exported))
    except SkipjackError as error:
        log(f"cannot send the policy of this machine: {error}", about="courier", level=WARNING)
