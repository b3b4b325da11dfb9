"""How did an attempt end, and why? Judged by the end of its last process and by its log.

The order in which an attempt's parts are called is in `pipeline`; which line of a log names an error, in `log_errors`.
"""

import os
from typing import NamedTuple

from runner.base.output import head
from runner.journal.journal import Ending
from runner.plugin_api import Abort, Findings, Job, Provider
from runner.run.logs import Digest, digest
from runner.subprocesses import supervisor
from schemas.states import FAILED, INTERRUPTED, SUCCESS, TIMED_OUT
from schemas.units import setting_duration


def judge(job: Job, provider: Provider, exited: supervisor.Exit) -> Ending:
    """Return how the attempt ended, from the end of its last process and its log."""
    read = _read_log(job, provider, job.mirror.fail_on_match)
    status, reason, unreached = _verdict(job, provider, exited, read)
    if reason:
        job.note(reason)
    if status == SUCCESS and read.findings.remark:
        job.complain(read.findings.remark)
    found = read.findings if status == SUCCESS else read.findings._replace(size=None)
    ending = _ending(status, reason, exited.code, job, found, f"{read.tail}\n{reason}".strip())
    return ending._replace(unreached=unreached)


def of_abort(job: Job, provider: Provider, abort: Abort) -> Ending:
    """Return the end of an attempt that its provider aborted, with the figures of its log except the size."""
    read = _read_log(job, provider, "")
    found = read.findings._replace(size=None)
    return _ending(abort.status, abort.reason, job.exit_code, job, found, read.tail)


def _read_log(job: Job, provider: Provider, fail_on_match: str) -> Digest:
    """Read the attempt's log. If the command has removed or replaced it, the attempt does not succeed."""
    reader = provider.reader(job)
    try:
        return digest(job.log_file, reader, fail_on_match)
    except OSError as error:
        todo = "Let the command write to the log, and not replace it."
        why = f"cannot read the attempt's log {job.log_file}: {error.strerror}. {todo}"
        return Digest(reader.findings(), "", None, why)


class _Verdict(NamedTuple):
    """How an attempt ended and why; `unreached` if its upstream could not be reached or accepted no more clients."""

    status: str
    reason: str = ""
    unreached: bool = False


def _verdict(job: Job, provider: Provider, exited: supervisor.Exit, read: Digest) -> _Verdict:
    # Our own reasons to end the process come first: its exit code and its log then show only the consequence.
    if exited.cause == supervisor.INTERRUPTED:
        return _Verdict(INTERRUPTED, "the run received a stop signal, from a shutdown or by hand")
    if exited.cause == supervisor.TIMED_OUT:
        limit = setting_duration(job.mirror.timeout or 0)
        return _Verdict(TIMED_OUT, f"the attempt took longer than its time-out of {limit}")
    if read.stuck:
        return _Verdict(FAILED, read.stuck)
    if read.forbidden is not None:
        return _Verdict(FAILED, f"a line of the log matches `fail_on_match`: {head(read.forbidden, 200)}")
    if provider.is_success(job, exited.code):
        lost = f"output of the command could not be written to its log: {job.log_lost}"
        return _Verdict(FAILED, lost) if job.log_lost else _Verdict(SUCCESS)
    return _Verdict(FAILED, job.explanation) if job.explanation else _explained(job, provider, exited.code)


def _explained(job: Job, provider: Provider, code: int) -> _Verdict:
    """Return why the process failed: the meaning of its exit code, and the line of the log that names the error.

    A refusal of the rsync daemon replaces the details of the meaning, which would only be a guess.
    """
    from runner.run.error_lines import DAEMON  # loaded here, since only failures need the patterns
    from runner.run.log_errors import is_unreached, shortened, whole_error_line

    whole = whole_error_line(job.log_file)
    line, unreached = shortened(whole), code in provider.UNREACHED or is_unreached(whole)
    meaning = provider.explain(code)
    if not line:
        return _Verdict(FAILED, meaning, unreached)
    if line.startswith(DAEMON.decode()):
        return _Verdict(FAILED, f"{meaning.partition(':')[0]}: {line}", unreached)
    return _Verdict(FAILED, f"{meaning}. The log says: {line}", unreached)


def _ending(status: str, reason: str, code: int, job: Job, found: Findings, tail: str) -> Ending:
    figures = found.bytes, found.files, found.size
    ending = Ending(status, reason, code, job.attempt, *figures, tail)
    return ending._replace(by_name=found.by_name, transferred=found.transferred, free_space=_free_space(job.directory))


def _free_space(directory: str) -> int | None:
    """Return the free bytes on the file system of a directory; None if it cannot be asked."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize
