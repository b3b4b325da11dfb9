"""Runs the command lines that a mirror wants to have run after a success or a failure.

It stands first in the table, so its commands come after what the other hooks do at the end. They find the attempt's log
under its last name, their output goes there, and nothing that they do changes the run's result.
"""

import shlex

from runner.plugin_api import CannotRun, Command, Job
from schemas.states import INTERRUPTED

OPTIONS = frozenset({
    "env", "exec_on_success", "exec_on_success_extra", "exec_on_failure", "exec_on_failure_extra",
    "exec_on_each_failure", "exec_timeout",
})  # fmt: skip


def post_success(job: Job) -> None:
    """Run what is to be run after a success."""
    _run_all(job, "success", job.mirror.exec_on_success + job.mirror.exec_on_success_extra)


def post_fail(job: Job) -> None:
    """Run what is to be run after a failure: once when there is no other attempt, and never in a shutdown."""
    if job.outcome.status != INTERRUPTED and (job.is_last_attempt or job.mirror.exec_on_each_failure):
        _run_all(job, "failure", job.mirror.exec_on_failure + job.mirror.exec_on_failure_extra)


def _run_all(job: Job, status: str, lines: tuple[str, ...]) -> None:
    told = {f"{prefix}_JOB_EXIT_STATUS": status for prefix in ("TUNASYNC", "SKIPJACK")}
    # The variables of a container are for its programs alone; these run on the machine.
    env = job.facts | told | ({} if job.mirror.docker_image else dict(job.mirror.env))
    for line in lines:
        shown = _shown(line)
        job.note(f"running {shown}")
        words = tuple(shlex.split(line))
        if why := job.refusal(words):
            job.complain(f"after the {status}: `{shown}` was not started: {why}")
            continue
        try:
            code = job.execute(Command(words, env, job.directory), job.mirror.exec_timeout)
        except CannotRun as error:
            job.complain(f"after the {status}: {error}")
            continue
        if code != 0:
            job.complain(f"after the {status}: `{shown}` {_ending(code)}")


def _shown(line: str) -> str:
    from schemas.addresses import without_secrets  # few runs have such a line

    return without_secrets(" ".join(line.split()))


def _ending(code: int) -> str:
    return f"was ended by signal {-code}" if code < 0 else f"exited with {code}"
