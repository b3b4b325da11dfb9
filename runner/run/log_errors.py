"""Which line of an attempt's log names best why the attempt failed?

`error_lines` ranks each line. This module knows nothing of mirrors. Imported only when an attempt has failed.
"""

import os
import re

from runner.run.error_lines import SUMMARY, LineClassifier
from schemas.addresses import without_secrets
from schemas.regular_files import regular_itself
from schemas.terminal import plain

LONGEST = 300
"""Largest number of characters of a line in a reason."""

_JUDGED = 4000
"""Characters of a line that are searched for the cause; some programs name it at the end of a long line."""

_LINE_BYTES = 64 * 1024
_LOOKED_AT = 2 * 1024 * 1024
"""Bytes at the log's end that are read: at most a second of work, and programs end soon after their error."""

_PROMPT = b"Password: "
"""Printed by rsync, without a line end, before a daemon rejects it without a password."""

_UNREACHED = re.compile(
    # The upstream has reached a limit.
    r"@ERROR:.*(?:max(?:imum)? (?:number of )?connections|too many|try again later|\bbusy\b"
    r"|connection limit|limit (?:exceeded|reached)|overloaded|max(?:imum)? sessions)"
    r"|too many (?:connections|users|clients|requests)|(?:returned error:|ERROR|status code:?|HTTP) (?:429|50[234])\b"
    r"|kex_exchange_identification: (?:read: )?connection (?:closed|reset)"
    # There was no connection, or it was closed before any data came.
    r"|connection (?:refused|reset|timed out)|(?:operation|request|connect|read) timed out|i/o timeout"
    r"|\bE(?:TIMEDOUT|CONNREFUSED|CONNRESET|HOSTUNREACH|NETUNREACH|NOTFOUND|AI_AGAIN)\b"
    r"|no route to host|network is (?:unreachable|down)|host is (?:unreachable|down)"
    r"|(?:failed|couldn't|could not|unable|cannot) (?:to )?connect\b|did not see server greeting"
    r"|connection unexpectedly closed \(0 bytes received|curl: \((?:5|6|7|28|52|56)\)"
    # The name has no address.
    r"|(?:could not|couldn't|unable to|failed to) resolve|name or service not known|name resolution"
    r"|no address associated|unknown host|no such host|getaddrinfo",
    re.IGNORECASE,
)


def is_unreached(line: str) -> bool:
    """Return whether the line that names the error means that the upstream was unreachable or had too many clients."""
    return _UNREACHED.search(line[:_JUDGED]) is not None


def whole_error_line(path: str) -> str:
    """Return the log's line that names the error, printable and without secrets; empty if no line does.

    Of equally clear lines the last one counts, since programs end soon after their error. Of a large log only the end
    is read. An unreadable log names no error.
    """
    best, found, reader = SUMMARY, b"", LineClassifier()  # rsync's own summary says no more than its exit code
    try:
        with open(path, "rb", opener=regular_itself) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LOOKED_AT))
            while line := file.readline(_LINE_BYTES):
                line = line.removeprefix(_PROMPT)
                rank, text = reader.judge(line)
                if rank >= best and rank > SUMMARY:
                    best, found = rank, text
    except OSError:  # the exit code alone is a reason as well
        return ""
    return _shown(found)


def _shown(line: bytes) -> str:
    text = " ".join(plain(line.decode("utf-8", "replace").strip()).split())
    return without_secrets(text)


def shortened(line: str) -> str:
    """Return a line cut to the length that a reason may have."""
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"
