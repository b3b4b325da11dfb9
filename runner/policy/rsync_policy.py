"""Check each rsync command line that a run may start against the machine's policy.

An argument list is judged as a whole, parsed as rsync parses it: the provider's own words and those of all keys. Judged
key by key, the last word of one list could take the first word of the next as its value.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from runner.base import file_view, pattern_files, rsync_lines
from runner.base.file_policy import Violation
from runner.base.file_view import FileView
from runner.base.pattern_files import OPTION_KEYS
from runner.policy import policy_lists
from runner.providers import PROVIDERS
from schemas.problems import shown
from schemas.records import Mirror, Policy
from schemas.rsync import rsync_filters, rsync_hosts, rsync_options, rsync_output
from schemas.rsync.rsync_options import Option, Reading


class FileJudges(NamedTuple):
    """Functions that yield the violations of a file that a key names, by the key and the path: of a pattern file, also
    by the modifiers of the rule that merges it, and of a password. `view` is the machine's files as they see them."""

    patterns: Callable[[str, str, str | None], Iterator[Violation]]
    password: Callable[[str, str], Iterator[Violation]]
    view: FileView = file_view.MACHINE

    def violations(self, key: str, complaint: "_Complaint") -> Iterator[Violation]:
        """Yield the violations of the file that a complaint names."""
        if complaint.kind == rsync_options.PASSWORD:
            return self.password(key, complaint.file)
        return self.patterns(key, complaint.file, complaint.modifiers)


_ASK = "Ask the administrator of this machine to add it to `allowed_rsync_options` of the policy, or remove it."

_JUDGED = (rsync_options.SENT, rsync_options.PASSWORD)
"""What rsync does with files that are judged. Where the others may lie is up to the values of the policy's list."""

_FOR = re.compile("([DFaguo]*)(.*)")
"""The classes of a mode and the rest. `D` (folders) and `F` (files) may be anywhere among the letters, repeatedly."""

_SPECIAL = re.compile("0*[2-7][0-7]{3}|.*[+=][^-+=]*s.*")
"""Modes with set-user-ID or set-group-ID, in numbers and in letters."""

_FAULTS = {
    rsync_options.UNKNOWN: "holds `{}`, which rsync does not know",
    rsync_options.NO_VALUE: "ends in `{}` without its value, so rsync would take the upstream's address as the value",
    rsync_options.UNWANTED_VALUE: "gives a value to `{}`, which takes none",
    rsync_options.NOT_A_NUMBER: "gives `{}` a value that is not a number",
    rsync_options.OTHER_MODE: "holds `{}`, which makes rsync a server",
    rsync_options.EXPANDED: "has `!#:+` in the value of `{}`, which takes another word out of the command line",
}


class _Complaint(NamedTuple):
    """A violation in an argument list: its word, the message after the key's name, what to do, and a file to judge.

    `entry` is the entry of `allowed_rsync_options` that would allow it, `modifiers` are those of the rule that merges
    the file, `kind` is what rsync does with it.
    """

    word: str
    what: str
    todo: str
    file: str = ""
    entry: str = ""
    modifiers: str | None = None
    kind: str = rsync_options.SENT


class Needed(NamedTuple):
    """An option or a file that the policy would have to list for a mirror, and the key that uses it.

    `kind` is what rsync does with the file.
    """

    key: str
    entry: str
    file: str
    kind: str = rsync_options.SENT


def needed(mirror: Mirror, directory: str, policy: Policy) -> Iterator[Needed]:
    """Yield the entries that the policy lacks for a mirror's rsync to use all its options and files."""
    for complaint in _complaints(mirror, directory, policy):
        if complaint.entry or complaint.file.startswith("/"):
            yield from _needed(_key(mirror, complaint.word), complaint)


def _needed(key: str, complaint: _Complaint) -> Iterator[Needed]:
    """Yield the entries for an option or its file; an option that is not listed may need one for its file as well."""
    yield Needed(key, complaint.entry, complaint.file, complaint.kind)
    option, _equals, value = complaint.entry.partition("=")
    path = rsync_options.file_of(option, value, rsync_options.SENT, rsync_options.PASSWORD)
    if path is not None and path.startswith("/"):
        yield Needed(key, "", path, rsync_options.READING[option])


def violations(mirror: Mirror, directory: str, policy: Policy, judges: FileJudges) -> Iterator[Violation]:
    """Yield a violation for each word of a mirror's rsync command lines that the policy denies."""
    for key in OPTION_KEYS:
        # A kept definition may be older than the schema rule that checks this.
        fault = rsync_options.read(getattr(mirror, key)).fault
        if fault is not None and fault.kind == rsync_options.NO_VALUE:
            yield f"`{key}` ends in `{fault.spelling}` without its value.", "Add the value, or remove the option."
    for complaint in _complaints(mirror, directory, policy):
        key = _key(mirror, complaint.word)
        if complaint.file:
            yield from judges.violations(key, complaint)
        else:
            yield f"`{key}` {complaint.what}.", complaint.todo


def _complaints(mirror: Mirror, directory: str, policy: Policy) -> dict[_Complaint, None]:
    own = frozenset(_own(mirror, directory))
    found: dict[_Complaint, None] = {}
    for words in _argument_lists(mirror, directory):
        found |= dict.fromkeys(_judge(words[:-2], own, policy))
    if mirror.provider not in PROVIDERS:
        found |= dict.fromkeys(_judge(tuple(pattern_files.words_of(mirror)), own, policy))
    return found


def _argument_lists(mirror: Mirror, directory: str) -> Iterator[tuple[str, ...]]:
    """Yield those of a built-in provider; for a plug-in, the program and the paths are judged before each start."""
    if mirror.provider in PROVIDERS:
        yield from PROVIDERS[mirror.provider].argument_lists(mirror, directory)


def transports(mirror: Mirror, directory: str) -> set[str]:
    """Return how rsync would reach the upstream; empty for a provider without rsync."""
    return {rsync_hosts.transport(words[-2]) for words in _argument_lists(mirror, directory)}


def line_violations(
    key: str, words: Sequence[str], directory: str, policy: Policy, judges: FileJudges, *, ssh: bool
) -> Iterator[Violation]:
    """Yield a violation for each denied part of a definition's command line that starts rsync itself.

    Otherwise `command: rsync …` would bypass the rules for the rsync providers. `ssh` means that the policy allows ssh.
    """
    for complaint in _judge(tuple(words), frozenset(), policy, with_operands=True):
        if complaint.file:
            yield from judges.violations(key, complaint)
        else:
            yield f"`{key}` {complaint.what}.", complaint.todo
    for option in rsync_options.read(words).options:
        if option.name in rsync_lines.FOLLOWING:
            todo = "Remove it: with it a link of the upstream could lead out of the mirror."
            yield f"`{key}` starts rsync with `{option.spelling}`.", todo
    for word in rsync_lines.operands(words):
        if not _may_be_reached(word, directory, judges.view, ssh=ssh):
            todo = "Write the mirror's directory, or a path below it without links, or the address of an rsync daemon"
            todo += "." if ssh else ", or ask the administrator to add `/usr/bin/ssh` to `programs` of the policy."
            yield f"`{key}` lets rsync reach `{shown(word)}`.", todo


def reaches_by_ssh(words: Sequence[str], directory: str) -> bool:
    """Return whether such a command line has an operand that is allowed only if the policy allows ssh."""
    places, view = rsync_lines.operands(words), file_view.MACHINE
    return any(
        _may_be_reached(word, directory, view, ssh=True) and not _may_be_reached(word, directory, view, ssh=False)
        for word in places
    )


def lines_needed(key: str, words: Sequence[str], policy: Policy) -> Iterator[Needed]:
    """Yield the options and files that the policy lacks for such a command line of a key."""
    following = [name for option in rsync_options.read(words).options if (name := option.name) in rsync_lines.FOLLOWING]
    for complaint in _judge(tuple(words), frozenset(), policy):
        if complaint.entry not in following and (complaint.entry or complaint.file.startswith("/")):
            yield from _needed(key, complaint)


def _may_be_reached(word: str, directory: str, files: FileView, *, ssh: bool) -> bool:
    how = rsync_hosts.transport(word)
    if how == rsync_hosts.SHELL:
        host = word.partition(":")[0].rpartition("@")[2]
        return ssh and not word.startswith("-") and not host.startswith("-")  # ssh would take it for an option
    return how == rsync_hosts.DAEMON or rsync_lines.is_own(word, directory, files)


def _own(mirror: Mirror, directory: str) -> Iterator[tuple[str, str | None]]:
    """Yield the options that the provider itself uses for a mirror without options; they need no entry."""
    bare = mirror._replace(rsync_options=(), rsync_options_extra=(), rsync_override=(), rsync_override_only=False)
    for words in _argument_lists(bare, directory):
        yield from _pairs(words[:-2])
    if mirror.provider not in PROVIDERS:
        yield from _pairs(tuple(pattern_files.words_of(bare)))


@lru_cache(maxsize=1024)  # most mirrors share one of a few option lists
def _pairs(words: tuple[str, ...]) -> tuple[tuple[str, str | None], ...]:
    return tuple([(option.name, option.value) for option in rsync_options.read(words).options])


@lru_cache(maxsize=1024)
def _judge(
    words: tuple[str, ...], own: frozenset[tuple[str, str | None]], policy: Policy, *, with_operands: bool = False
) -> tuple[_Complaint, ...]:
    reading = rsync_options.read(words)
    allowed = policy_lists.rsync_options(policy)
    found = [complaint for option in reading.options for complaint in _option(option, words, own, allowed)]
    if not with_operands:
        found += _operands(words, reading)
    if fault := reading.fault:
        what = _FAULTS[fault.kind].format(shown(fault.spelling))
        found.append(_Complaint(words[fault.word], what, "Correct it, or remove it."))
    return tuple(found)


def _operands(words: Sequence[str], reading: Reading) -> Iterator[_Complaint]:
    """Yield a complaint for each operand; for all after `--`, which may be words of the provider, one."""
    values = {option.value_word for option in reading.options}
    end = next((number for number, word in enumerate(words) if word == "--" and number not in values), len(words))
    for word in [words[number] for number in reading.operands if number < end]:
        what = f"holds `{shown(word)}`, which rsync would take as a source or a target"
        yield _Complaint(word, what, "Write only options; the provider adds source and target.")
    if end < len(words):
        what = "holds `--`, after which rsync would take each word as a source or a target"
        yield _Complaint("--", what, "Remove it.")


def _option(
    option: Option,
    words: Sequence[str],
    own: frozenset[tuple[str, str | None]],
    allowed: Mapping[str, frozenset[str | None]],
) -> Iterator[_Complaint]:
    word, value = words[option.word], option.value
    values = allowed.get(option.name, frozenset())
    if rsync_options.READING.get(option.name) == rsync_options.OF_FOLDERS:
        what = f"holds `{option.spelling}`, with which rsync reads files of the mirror"
        yield _Complaint(word, what, "Write the rules themselves.")
    elif (option.name, value) not in own and None not in values and value not in values - {None}:
        others = ", ".join(f"`{option.name}={each}`" for each in sorted(map(str, values)))
        todo = f"Allowed are {others}. {_ASK}" if others else _ASK
        entry = option.name if value is None else f"{option.name}={value}"
        yield _Complaint(word, f"holds `{option.spelling}`, which this machine does not allow", todo, entry=entry)
    elif option.name == "--chmod" and value not in values and _sets_id(str(value)):
        what = f"holds `{shown(word)}`, with which a program of the upstream runs as the owner of its file"
        yield _Complaint(word, what, "Leave out the bits for set-user-ID and set-group-ID of files.")
    elif (path := rsync_options.file_of(option.name, value, *_JUDGED)) is not None:
        yield _Complaint(word, "", "", path, kind=rsync_options.READING[option.name])
    elif option.name == "--filter":
        yield from _filter(word, str(value))


def _sets_id(modes: str) -> bool:
    """Return whether a value of `--chmod` sets set-user-ID or set-group-ID on files; on folders they are harmless."""
    parts = [_FOR.fullmatch(mode) for mode in modes.split(",")]
    return any(part and "D" not in part[1] and _SPECIAL.fullmatch(part[2]) for part in parts)


def _filter(word: str, value: str) -> Iterator[_Complaint]:
    rule = rsync_filters.read(value)
    if rule.reads_folders:
        what = f"has a filter rule that reads files of the mirror: `{shown(value)}`"
        yield _Complaint(word, what, "Write the rules themselves.")
    elif rule.kind == rsync_filters.MERGE and not rule.pattern:
        what = f"has a filter rule that rsync does not accept: `{shown(value)}`"
        yield _Complaint(word, what, "Write `merge PATH` with one space.")
    elif rule.kind == rsync_filters.MERGE:
        yield _Complaint(word, "", "", rule.pattern, modifiers=rule.modifiers)


def _key(mirror: Mirror, word: str) -> str:
    """Return the key that a word comes from."""
    for key in OPTION_KEYS:
        words = getattr(mirror, key)
        if word in words or word in rsync_output.without_output(words):
            return key
    return "exclude_file" if word == "--exclude-from" else "stage1_profile"
