"""Run a mirror's own command lines after a success or a failure (`exec_on_success`, `exec_on_failure`).

This hook is the first of the table, so its commands run after all other hooks. The attempt's log has its final name
then, and gets their output. The commands never change the result of the run.
"""

import shlex

from runner.plugin_api import CannotRun, Command, Job
from schemas.states import INTERRUPTED

OPTIONS = frozenset({
    "env", "exec_on_success", "exec_on_success_extra", "exec_on_failure", "exec_on_failure_extra",
    "exec_on_each_failure", "exec_timeout",
})  # fmt: skip


def post_success(job: Job) -> None:
    """Run the commands for a success."""
    _run_all(job, "success", job.mirror.exec_on_success + job.mirror.exec_on_success_extra)


def post_fail(job: Job) -> None:
    """Run the commands for a failure: after the last attempt, or each one with `exec_on_each_failure`.

    Not after an interruption: a shutdown must not wait for them.
    """
    if job.outcome.status != INTERRUPTED and (job.is_last_attempt or job.mirror.exec_on_each_failure):
        _run_all(job, "failure", job.mirror.exec_on_failure + job.mirror.exec_on_failure_extra)


def _run_all(job: Job, status: str, lines: tuple[str, ...]) -> None:
    result = {f"{prefix}_JOB_EXIT_STATUS": status for prefix in ("TUNASYNC", "SKIPJACK")}
    # A container's variables are only for its programs. These commands run on the machine.
    env = job.facts | result | ({} if job.mirror.docker_image else dict(job.mirror.env))
    for line in lines:
        shown = _shown(line)
        job.note(f"running {shown}")
        words = tuple(shlex.split(line))
        if why := job.refusal(words):  # links and passwords may have changed since follow checked them
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
    from schemas.addresses import without_secrets  # loaded here, since few runs have such commands

    return without_secrets(" ".join(line.split()))


def _ending(code: int) -> str:
    return f"was ended by signal {-code}" if code < 0 else f"exited with {code}"
