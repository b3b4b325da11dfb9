"""The line of an attempt's log that names its error: which line says best why the attempt failed.

It knows the forms of rsync, ssh, git, curl, wget, lftp, container programs, interpreters and shells, and lines that
call themselves an error. It knows nothing of mirrors. Imported only when an attempt has failed.
"""

import os
import re

from schemas.addresses import without_secrets
from schemas.reading import regular
from schemas.terminal import plain

LONGEST = 300
"""Characters of a line that a reason takes."""

_JUDGED = 4000
"""Characters of a line in which it is looked for why; some programs name the cause at the end of a long line."""

_LINE_BYTES = 64 * 1024
_LOOKED_AT = 4 * 1024 * 1024
"""Bytes at the log's end that are looked at: a second of work at most, and programs end soon after their error."""

DAEMON = b"@ERROR"
"""How an rsync daemon begins the line with which it rejects a client."""

_PROMPT = b"Password: "
"""What rsync prints, without an end of the line, before it is rejected without a password."""

_NAMES = rb"skipjack: |(?:[<>ch.*][fdLDS][.+?cstTpoguaxbn]{9}|\*deleting  ) "
"""Lines of ours, and lines in which rsync names a file."""

_SUMMARY = rb"rsync error: |rsync warning: "
_CONSEQUENCE = (
    rb"rsync: (?:\[[\w ]+\] )?(?:connection unexpectedly closed|writefd_unbuffered failed|write error: |read error: )"
    rb"|rsync: (?:\[[\w ]+\] )?safe_read failed|IO error encountered -- skipping file deletion"
    rb"|fatal: Could not read from remote repository|client_loop: send disconnect|make(?:\[\d+\])?: \*\*\*"
)
"""Lines that follow from an error that another line names."""

_EXACT = (
    rb"rsync: |\[[\w ]+\] io timeout after |ssh: |Host key verification failed|kex_exchange_identification: "
    rb"|(?:\S+: )?Permission denied \([\w,-]+\)|fatal: |curl: \(\d+\) |wget: |lftp: "
    rb"|Fatal error: |mirror: Access failed: "
    rb"|(?:docker|podman): |Error response from daemon: |Error: |[EF]: |ERROR: |(?i:fatal(?: error)?|panic)\b ?:"
    rb"|(?:[A-Za-z_]\w*\.)*\w*(?:Error|Exception|Exit): "
    rb"|\S*(?:sh|dash|bash|zsh): .*"
    rb"(?:not found|Permission denied|No such file or directory|syntax error|unbound variable)"
)
"""How programs begin the line that names an error."""

_GENERIC = (
    rb"(?<![\w.-])(?:ERROR|FATAL|CRITICAL)(?![\w.-])|(?i:(?<![\w./-])(?:fatal error|error|fatal|failed) ?: )"
    rb"|(?i:no space left on device|disk quota exceeded|connection (?:refused|reset|timed out)|permission denied"
    rb"|(?:network is|host is|no route to host)(?: unreachable)?|could not resolve|name or service not known"
    rb"|temporary failure in name resolution|read-only file system|too many open files|out of memory)"
)
"""Words with which a line anywhere says that it is an error."""

_RANKS = (
    (re.compile(_NAMES), 0),
    (re.compile(DAEMON), 5),
    (re.compile(_SUMMARY), 1),
    (re.compile(_CONSEQUENCE), 2),
    (re.compile(_EXACT), 4),
)
_ANYWHERE = re.compile(_GENERIC)


_UNREACHED = re.compile(
    # a limit of the upstream
    r"@ERROR:.*(?:max(?:imum)? (?:number of )?connections|too many|try again later|\bbusy\b"
    r"|connection limit|limit (?:exceeded|reached)|overloaded|max(?:imum)? sessions)"
    r"|too many (?:connections|users|clients|requests)|(?:returned error:|ERROR|status code:?|HTTP) (?:429|50[234])\b"
    r"|kex_exchange_identification: (?:read: )?connection (?:closed|reset)"
    # no connection, or one that was closed before anything came
    r"|connection (?:refused|reset|timed out)|(?:operation|request|connect) timed out|i/o timeout"
    r"|no route to host|network is (?:unreachable|down)|host is (?:unreachable|down)"
    r"|(?:failed|couldn't|could not|unable|cannot) (?:to )?connect\b|did not see server greeting"
    r"|connection unexpectedly closed \(0 bytes received|curl: \((?:5|6|7|28|52|56)\)"
    # no address
    r"|(?:could not|couldn't|unable to|failed to) resolve|name or service not known|name resolution"
    r"|no address associated|unknown host|getaddrinfo",
    re.IGNORECASE,
)


def is_unreached(line: str) -> bool:
    """Whether the line that names the error says that the upstream could not be reached, or has too many clients."""
    return _UNREACHED.search(line[:_JUDGED]) is not None


def error_line(path: str) -> str:
    """Return the log's line that names the error, fit for a reason, or nothing if no line does."""
    return shortened(whole_error_line(path))


def whole_error_line(path: str) -> str:
    """Return the log's line that names the error, printable and without secrets, or nothing if no line does.

    Of lines that are equally clear the last one counts, since programs end after it. Only the end of a
    large log is looked at. A log that cannot be read names nothing.
    """
    best, found = 1, b""  # rsync's own summary says no more than its exit code
    try:
        with open(path, "rb", opener=regular) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LOOKED_AT))
            while line := file.readline(_LINE_BYTES):
                line = line.removeprefix(_PROMPT)
                rank = _rank(line)
                if rank >= best and rank > 1:
                    best, found = rank, line
    except OSError:
        return ""
    return _shown(found)


def _rank(line: bytes) -> int:
    """How clearly a line names an error: 5 is a daemon's refusal, 0 is none."""
    line = line.strip()
    for pattern, rank in _RANKS:
        if pattern.match(line):
            return rank
    return 3 if _ANYWHERE.search(line, 0, 2000) else 0


def _shown(line: bytes) -> str:
    text = " ".join(plain(line.decode("utf-8", "replace").strip()).split())
    return without_secrets(text)


def shortened(line: str) -> str:
    """Return as much of a line as a reason takes."""
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"
