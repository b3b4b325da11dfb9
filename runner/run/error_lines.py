"""Rank one line of a log by how clearly it names an error, by the forms in which programs write their errors.

It knows nothing of logs or mirrors. Imported only when an attempt has failed, since the patterns take time to compile.
"""

import re

DAEMON = b"@ERROR"
"""The beginning of the line with which an rsync daemon rejects a client."""

REFUSAL, CAUSE, LIKELY, CONSEQUENCE, SUMMARY, NONE = 5, 4, 3, 2, 1, 0
"""How clearly a line names the error: the refusal of a daemon, an error in a program's own form, words of an error, a
consequence of an error that another line names, rsync's summary of its exit code, and not at all."""

_NAMES = rb"skipjack: |(?:[<>ch.*][fdLDS][.+?cstTpoguaxbn]{9}|\*deleting  ) "
"""Lines of Skipjack, and lines in which rsync names a file: a file may be called "error"."""

_SUMMARY = rb"rsync error: |rsync warning: "
_FOLLOWS = (
    rb"rsync: (?:\[[\w ]+\] )?(?:connection unexpectedly closed|writefd_unbuffered failed|write error: |read error: )"
    rb"|rsync: (?:\[[\w ]+\] )?safe_read failed|IO error encountered -- skipping file deletion"
    rb"|fatal: Could not read from remote repository|client_loop: send disconnect|make(?:\[\d+\])?: \*\*\*"
    rb"|fatal: (?:early EOF|the remote end hung up|index-pack failed|fetch-pack: )|tar: (?:Error is not|Exiting with)"
    rb"|\d+ errors? (?:detected|occurred)|releasing \d+ pending lock|npm (?:ERR!|error)(?: A complete log| If you| *$)"
    rb"|npm (?:ERR!|error) +(?:at |code|errno|syscall|path|type|address|port|This is related)"
)
"""Lines that follow from an error that another line names."""

_ENDS_IN_CODE = re.compile(
    rb"\b(?:exit(?:ed|ing)?(?: with)?(?: an?)?(?: error)?(?: (?:code|status))?|return(?:s|ed)(?: with)?"
    rb"|return (?:code|status))"
    rb"(?: is| was)?[ :=(]{1,3}(?:[1-9]\d?|1\d\d|2[0-4]\d|25[0-5])\W*$|returned non-zero exit status \d+\W*$",
    re.IGNORECASE,
)
_LABELS = rb"(?:\W*+(?:error|fatal|critical|failure|failed)\b)"
_GENERAL = (
    rb"(?:[\w./-]+: )?" + _LABELS + rb"*\W*+(?:"
    rb"(?:sync\w*|mirror\w*|updat\w+|download\w*|upload|script|command|job|task|run|fetch|build|process|operation|transfer"
    rb"|rsync|wget|curl|lftp|rclone|git(?: \w+)?)(?: \S+)? (?:has |have |was )?(?:failed|aborted|unsuccessful)"
    rb"|failed to (?:sync\w*|mirror|update|run)(?: [^\s:]+){0,3}"
    rb"|(?:giving up|aborting|something went wrong)[^:]{0,80})\W*$"
)
"""Lines of a wrapper that say only that something has failed, and not what."""

_STAMP = re.compile(
    rb"(?:\[?\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?: ?Z| ?[+-]\d\d:?\d\d)?\]?"
    rb"|\[?\d\d:\d\d:\d\d\]?)[ :-]*"
)
_ESCAPES = re.compile(rb"\x1b\[[0-9;:?]*[ -/]*[@-~]|\x1b\(B")

_EXCEPTION = rb"(?:[A-Za-z_]\w*\.)*\w*(?:Error|Exception|Exit): (?!0\b|none\b)"
_EXACT = (
    rb"rsync: |\[[\w ]+\] io timeout after |ssh: |Host key verification failed|kex_exchange_identification: "
    rb"|(?:\S+: )?Permission denied \([\w,-]+\)|fatal: |curl: \(\d+\) |wget: |lftp: "
    rb"|\w+: (?:Fatal error|Access failed|Login failed): |Fatal error: "
    rb"|(?:docker|podman): |Error response from daemon: |[EF]: |ERROR: (?!0\b|none\b)"
    rb"|(?i:fatal(?: error)?|panic)\b ?:|(?:(?:ERROR|CRITICAL|NOTICE) ?: .*)?Failed to (?:sync|copy)[ \w]*: "
    rb"|Exception in thread |Caused by: \S|gpg: (?:BAD|Can't|no valid)"
    rb"|npm (?:ERR!|error) (?:network request|\d{3} |\w+Error: |enoent )"
    rb"|(?!Use of uninitialized).+ at \S+ line \d+(?:, <\w+> (?:line|chunk) \d+)?\.$"
    rb"|\S+\.rb:\d+:in .+ \((?:\w+::)*\w+\)$"
    rb"|" + _EXCEPTION + rb"|\S*(?:sh|dash|bash|zsh): .*"
    rb"(?:not found|Permission denied|No such file or directory|syntax error|unbound variable)"
)  # fmt: skip
"""How programs begin the line that names an error. A count of zero errors is none."""

_WORDS = (
    rb"(?<![\w.-])(?<!\b0 )(?:ERROR|FATAL|CRITICAL)(?![\w.-]| ?[:=] ?(?:0|none|no)\b)"
    rb"|(?i:(?<![\w./-])(?:fatal error|error|fatal|failed) ?: ?(?!(?:0|none|no|false|null)\b)(?=\S))"
    rb"|level=(?:error|fatal)|\"level\": ?\"(?:error|fatal)\"|^Failed to \w|^[\w./-]+: (?:cannot|can't|unable to) "
    rb"|: (?:No such file or directory|Input/output error|Operation not permitted)$|Segmentation fault"
    rb"|(?:^|\s)Killed(?:\s|$)|computed checksums? did NOT match"
    rb"|(?i:no space left on device|disk quota exceeded|connection (?:refused|reset|timed out)|permission denied"
    rb"|(?:network is|host is|no route to host)(?: unreachable)?|could not resolve|name or service not known"
    rb"|no such host|temporary failure in name resolution|read-only file system|too many open files|out of memory"
    rb"|certificate (?:verify failed|verification failed|has expired|problem)|checksum mismatch)"
)
"""Words that mark a line as an error wherever they stand in it."""

_SHORTEST = 5  # bytes of a line that can name an error
_JUDGED, _JUDGED_END = 2000, 80
"""Bytes at the beginning and at the end of a line that are judged, so that a line without an end costs little."""

_BEGINNINGS = (
    (re.compile(_NAMES), NONE),
    (re.compile(_LABELS + rb"+\W*$", re.IGNORECASE), NONE),
    (re.compile(DAEMON), REFUSAL),
    (re.compile(_SUMMARY), SUMMARY),
    (re.compile(_FOLLOWS), CONSEQUENCE),
    (re.compile(_GENERAL, re.IGNORECASE), CONSEQUENCE),
)
_OWN_FORM = re.compile(_EXACT)
_ANYWHERE = re.compile(_WORDS)

_LABELLED = re.compile(rb"\W{0,2}(?:ERROR|Error)\b")
_NEAR = 3
"""Lines after a program's own error in which a wrapper may repeat it in other words."""

_TRACEBACK = re.compile(rb"Traceback \(most recent call last\):$")
_PANIC = re.compile(rb"thread '[^']*' panicked at \S+:$")


class LineClassifier:
    """Judges the lines of a log in order: some of them name the error only together with the lines above them."""

    def __init__(self) -> None:
        self._in_traceback = self._after_panic = False
        self._since_cause = _NEAR

    def judge(self, line: bytes) -> tuple[int, bytes]:
        """Return how clearly the next line names the error, and the line as a terminal shows it."""
        text = _visible(line)
        if self._in_traceback and (line[:1].isspace() or text.startswith(b"skipjack: ")):
            return NONE, text
        words = _unstamped(text)
        rank = _rank(words)
        if self._after_panic or (self._in_traceback and rank != CONSEQUENCE):
            rank = max(rank, CAUSE if self._after_panic or b": " in text else LIKELY)
        self._since_cause += 1
        # "ERROR: rsync failed" right after "rsync: …" is a wrapper's line; of equal lines the last one would count.
        if rank == CAUSE and not _LABELLED.match(words):
            self._since_cause = 0
        elif rank == CAUSE and self._since_cause <= _NEAR:
            rank = LIKELY
        self._in_traceback = _TRACEBACK.search(text) is not None
        self._after_panic = _PANIC.search(text) is not None
        return rank, text


def _visible(line: bytes) -> bytes:
    """Return a line without colours and without text that a carriage return overwrote."""
    text = line.strip()
    if b"\x1b" in text:
        text = _ESCAPES.sub(b"", text).strip()
    return text[text.rfind(b"\r") + 1 :].strip() if b"\r" in text else text


def _unstamped(text: bytes) -> bytes:
    stamp = _STAMP.match(text)
    return text[stamp.end() :] if stamp else text


def _rank(text: bytes) -> int:
    if len(text) < _SHORTEST:
        return NONE
    for pattern, rank in _BEGINNINGS:
        if pattern.match(text, 0, _JUDGED):
            return rank
    if _ENDS_IN_CODE.search(text, max(0, len(text) - _JUDGED_END)):
        return CONSEQUENCE
    if _OWN_FORM.match(text, 0, _JUDGED):
        return CAUSE
    return LIKELY if _ANYWHERE.search(text, 0, _JUDGED) else NONE
