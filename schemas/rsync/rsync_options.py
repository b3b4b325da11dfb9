"""Parse a list of rsync options exactly as rsync's own parser (popt) does.

Which option takes which word, whatever list, key or cluster a word comes from? The table is that of rsync 3.5; releases
since 3.1 know the same spellings or fewer, each with the same meaning. Does not know which options are allowed.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

_FLAGS = """
help | version -V | verbose -v | no-verbose no-v | msgs2stderr | no-msgs2stderr | quiet -q | motd | no-motd | stats
human-readable -h | no-human-readable no-h | dry-run -n | archive -a | recursive -r | no-recursive no-r
inc-recursive i-r | no-inc-recursive no-i-r | dirs -d | no-dirs no-d | old-dirs old-d | perms -p | no-perms no-p
executability -E | acls -A | no-acls no-A | xattrs -X | no-xattrs no-X | times -t | no-times no-t | atimes -U
no-atimes no-U | open-noatime | no-open-noatime | crtimes -N | no-crtimes no-N | omit-dir-times -O
no-omit-dir-times no-O | omit-link-times -J | no-omit-link-times no-J | super | no-super | fake-super | owner -o
no-owner no-o | group -g | no-group no-g | -D | no-D | devices | no-devices | copy-devices | write-devices
no-write-devices | specials | no-specials | drop-D | no-drop-D | links -l | no-links no-l | copy-links -L
copy-unsafe-links | safe-links | insecure-links | no-insecure-links | munge-links | no-munge-links | copy-dirlinks -k
keep-dirlinks -K | hard-links -H | no-hard-links no-H | relative -R | no-relative no-R | implied-dirs i-d
no-implied-dirs no-i-d | ignore-times -I | size-only | one-file-system -x | no-one-file-system no-x | update -u
existing ignore-non-existing | ignore-existing | sparse -S | no-sparse no-S | preallocate | inplace | no-inplace
append | append-verify | no-append | delete | delete-before | delete-during del | delete-delay | delete-after
delete-excluded | delete-missing-args | ignore-missing-args | remove-source-files remove-sent-files | force | no-force
ignore-errors | no-ignore-errors | -F | cvs-exclude -C | whole-file -W | no-whole-file no-W | checksum -c
no-checksum no-c | fuzzy -y | no-fuzzy no-y | compress -z | old-compress | new-compress | no-compress no-z | -P
progress | no-progress | partial | no-partial | delay-updates | no-delay-updates | prune-empty-dirs -m
no-prune-empty-dirs no-m | itemize-changes -i | no-itemize-changes no-i | no-bwlimit | backup -b | no-backup
list-only | from0 -0 | no-from0 | old-args | no-old-args | secluded-args protect-args -s
no-secluded-args no-protect-args no-s | trust-sender | numeric-ids | no-numeric-ids | no-timeout | no-contimeout
fsync | no-iconv | ipv4 -4 | ipv6 -6 | 8-bit-output -8 | no-8-bit-output no-8 | mkpath | no-mkpath | qsort
blocking-io | no-blocking-io | server | sender | daemon | detach | no-detach
"""

_TEXTS = """
info | debug | stderr | confine-root | chmod | max-size | min-size | max-alloc | filter -f | exclude | include
exclude-from | include-from | checksum-choice cc | block-size -B | compare-dest | copy-dest | link-dest
compress-choice zc | skip-compress | partial-dir | log-file | log-file-format | out-format log-format | bwlimit
backup-dir | suffix | read-batch | write-batch | only-write-batch | files-from | usermap | groupmap | chown
stop-after time-limit | stop-at | rsh -e | rsync-path | temp-dir -T | iconv | copy-as | address | sockopts
password-file | early-input | outbuf | remote-option -M | config | dparam
"""

_NUMBERS = """
modify-window -@ | max-delete | compress-level zl | compress-threads zt | timeout | contimeout | port | protocol
checksum-seed
"""

SENT, PASSWORD, LOCAL, OF_FOLDERS = "sent", "password", "local", "of folders"
READING = {
    "--exclude-from": SENT, "--include-from": SENT, "--files-from": SENT, "--early-input": SENT,
    "--password-file": PASSWORD,
    "--read-batch": LOCAL, "--compare-dest": LOCAL, "--copy-dest": LOCAL, "--link-dest": LOCAL,
    "-F": OF_FOLDERS, "--cvs-exclude": OF_FOLDERS,
}  # fmt: skip
"""Options with which a client reads files of the machine, beside the rules of `--filter`, and what it does with them:
it sends the file, or the answer to a challenge that is made from it; it compares it with files of the server, or copies
it into the target; it reads a file of rules in each folder. A test shows that no option is missing."""

_NOT_FROM_INPUT = "--early-input"
"""The only option for which `-` is a file of that name, and not the standard input."""

_OTHER_MODES = frozenset({"--server", "--sender", "--daemon", "--config", "--dparam", "--detach", "--no-detach"})
"""Options that make rsync a server, which parses the whole list again by other rules."""

_TAKES_A_WORD = "!#:+"
"""In a value, popt replaces this by the next word of the list that is not an option, and removes that word."""

_INT_MAX = 2**31
NO_MAX_DELETE = -_INT_MAX
"""The value of `--max-delete` that sets no limit; any other negative one counts as 0."""
_DIGITS = 20  # more than any number that fits

_FLAG, _TEXT, _NUMBER = "flag", "text", "number"

UNKNOWN = "unknown"
NO_VALUE = "no value"
UNWANTED_VALUE = "unwanted value"
NOT_A_NUMBER = "not a number"
OTHER_MODE = "another mode"
EXPANDED = "expanded"
END = "end of options"
"""A `--`, which is a fault only for `read_past_faults`."""


class Option(NamedTuple):
    """One option as rsync reads it.

    `name` is canonical: the long name, also for a letter and a synonym (`--rsh` for `-e`, `--delete-during` for
    `--del`, `--no-recursive` for `--no-r`), or the letter where there is none (`-D`, `-F`, `-P`). `spelling` is the
    option as it is written, without a value. `value` is None for an option that takes none. It stands in word number
    `word` of the list, from character `start` to before `end`; its value in word `value_word`, where that is another.
    """

    name: str
    spelling: str
    value: str | None
    word: int
    start: int
    end: int
    value_word: int | None = None


class OptionFault(NamedTuple):
    """Why rsync would not run as a client: the kind (a constant of this module), the option, and its word's number.

    popt stops there.
    """

    kind: str
    spelling: str
    word: int


class Reading(NamedTuple):
    """A parsed list: its options in order, the numbers of the words that are not options, and the faults."""

    options: tuple[Option, ...]
    operands: tuple[int, ...]
    faults: tuple[OptionFault, ...]

    @property
    def fault(self) -> OptionFault | None:
        """The first fault, where rsync stops."""
        return self.faults[0] if self.faults else None

    def named(self, *names: str) -> tuple[Option, ...]:
        """Return the options with one of these canonical names."""
        return tuple([option for option in self.options if option.name in names])


def _table() -> dict[str, tuple[str, str]]:
    """Return a map from each spelling to its option's canonical name and kind."""
    table = {}
    for kind, entries in ((_FLAG, _FLAGS), (_TEXT, _TEXTS), (_NUMBER, _NUMBERS)):
        for entry in entries.replace("\n", "|").split("|"):
            spellings = [word if word.startswith("-") else f"--{word}" for word in entry.split()]
            table.update(dict.fromkeys(spellings, (spellings[0], kind)) if spellings else {})
    return table


_TABLE = _table()


def spellings() -> list[str]:
    """Return all long options of rsync, as written."""
    return [spelling for spelling in _TABLE if spelling.startswith("--")]


def canonical(spelling: str) -> str | None:
    """Return the canonical name of an option as written without a value; None for an unknown option."""
    found = _TABLE.get(spelling)
    return found[0] if found else None


def takes_value(name: str) -> bool:
    """Return whether an option, by any of its spellings, takes a value."""
    return name in _TABLE and _TABLE[name][1] != _FLAG


def read(words: Sequence[str]) -> Reading:
    """Parse a list of arguments, without the program's name. Never raises; the fault is why rsync would stop."""
    return _read(tuple(words))


def read_past_faults(words: Sequence[str]) -> Reading:
    """Parse a list to its end: its author wants to know all faults, although rsync stops at the first one.

    The word after an unknown option may be its value, so it is not an operand.
    """
    return _read(tuple(words), past_faults=True)


@lru_cache(maxsize=512)  # most mirrors have the same options
def _read(words: tuple[str, ...], *, past_faults: bool = False) -> Reading:
    reader = _OptionParser(words)
    reader.run(past_faults=past_faults)
    return Reading(tuple(reader.options), tuple(reader.operands), tuple(reader.faults))


def file_of(option: str, value: str | None, *kinds: str) -> str | None:
    """Return the file that an option of one of these kinds reads; None for another option or standard input."""
    if READING.get(option) not in kinds or (value == "-" and option != _NOT_FROM_INPUT):
        return None
    return value


def sends_files(words: Sequence[str]) -> bool:
    """Return whether an rsync with these arguments could send a file: an option names one, or a rule may merge one.

    Every run asks this, and nearly none does; `rsync_filters` parses the rules. Behind a fault any option could do so:
    a newer rsync may know what this table does not.
    """
    reading = read(words)
    return reading.fault is not None or any(
        READING.get(each.name) in (SENT, PASSWORD) or (each.name == "--filter" and str(each.value)[:1] in ".m")
        for each in reading.options
    )


def without(words: Sequence[str], options: Iterable[Option]) -> tuple[str, ...]:
    """Return the list without some of the options that `read` has found; a cluster loses only their letters."""
    left: list[str | None] = list(words)
    for option in sorted(options, key=lambda each: (each.word, each.start), reverse=True):
        word = left[option.word] or ""
        rest = word[: option.start] + word[option.end :]
        left[option.word] = None if rest in ("", "-") else rest
        if option.value_word is not None:
            left[option.value_word] = None
    return tuple([word for word in left if word is not None])


class _Faulty(Exception):  # noqa: N818 - ends the parsing, as in popt
    def __init__(self, kind: str, spelling: str, word: int) -> None:
        super().__init__(kind)
        self.fault = OptionFault(kind, spelling, word)


class _OptionParser:
    """Parses the words; `_next` is the number of the next word."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words
        self._next = 0
        self.options: list[Option] = []
        self.operands: list[int] = []
        self.faults: list[OptionFault] = []

    def run(self, *, past_faults: bool) -> None:
        while self._next < len(self._words):
            number, word = self._next, self._words[self._next]
            self._next += 1
            if word == "--" and not past_faults:
                self.operands += range(self._next, len(self._words))
                return
            try:
                self._word(number, word)
            except _Faulty as faulty:
                self.faults.append(faulty.fault)
                if not past_faults:
                    return
                if faulty.fault.kind == UNKNOWN and word.endswith(faulty.fault.spelling[1:]):
                    self._skip_value()

    def _word(self, number: int, word: str) -> None:
        if word == "--":
            raise _Faulty(END, word, number)
        # For popt a `-` alone is not an option.
        if word == "-" or not word.startswith("-"):
            self.operands.append(number)
        elif word.startswith("--"):
            self._long(number, word)
        else:
            self._cluster(number, word)

    def _skip_value(self) -> None:
        if self._next < len(self._words) and not self._words[self._next].startswith("-"):
            self._next += 1

    def _long(self, number: int, word: str) -> None:
        spelling, equals, value = word.partition("=")
        name, kind = self._known(spelling, number)
        if kind == _FLAG:
            if equals:
                raise _Faulty(UNWANTED_VALUE, spelling, number)
            self._add(Option(name, spelling, None, number, 0, len(word)))
        elif equals:
            self._add(Option(name, spelling, value, number, 0, len(word)))
        else:
            self._add(self._with_next(name, spelling, number, 0, len(word)))

    def _cluster(self, number: int, word: str) -> None:
        for start, letter in enumerate(word[1:], 1):
            spelling = f"-{letter}"
            name, kind = self._known(spelling, number)
            rest = word[start + 1 :]
            if kind == _FLAG:
                if rest.startswith("="):
                    raise _Faulty(UNWANTED_VALUE, spelling, number)
                self._add(Option(name, spelling, None, number, start, start + 1))
            elif rest:
                # popt drops one `=` between a letter and its value.
                self._add(Option(name, spelling, rest.removeprefix("="), number, start, len(word)))
                return
            else:
                self._add(self._with_next(name, spelling, number, start, start + 1))

    def _known(self, spelling: str, number: int) -> tuple[str, str]:
        if spelling not in _TABLE:
            raise _Faulty(UNKNOWN, spelling, number)
        return _TABLE[spelling]

    def _with_next(self, name: str, spelling: str, number: int, start: int, end: int) -> Option:
        """Return an option whose value is the next word, whatever that looks like."""
        if self._next == len(self._words):
            raise _Faulty(NO_VALUE, spelling, number)
        self._next += 1
        return Option(name, spelling, self._words[self._next - 1], number, start, end, self._next - 1)

    def _add(self, option: Option) -> None:
        if option.value is not None and _TAKES_A_WORD in option.value:
            raise _Faulty(EXPANDED, option.spelling, option.word)
        if _TABLE[option.spelling][1] == _NUMBER and not _is_number(str(option.value)):
            raise _Faulty(NOT_A_NUMBER, option.spelling, option.word)
        if option.name in _OTHER_MODES:
            raise _Faulty(OTHER_MODE, option.spelling, option.word)
        self.options.append(option)


def number(text: str) -> int:
    """Return the value of an option with a number, in base 8, 10 or 16; an empty text counts as 0."""
    digits = text.strip(" \t\n\v\f\r")
    sign, digits = (digits[0], digits[1:]) if digits[:1] in ("+", "-") else ("", digits)
    base = 16 if digits[:2] in ("0x", "0X") else 8 if digits.startswith("0") else 10
    return int(sign + digits, base) if digits else 0


def _is_number(text: str) -> bool:
    """Return whether strtoll(3) reads all of a text, in base 8, 10 or 16, as a number that fits into an int."""
    digits = text.lstrip(" \t\n\v\f\r")
    sign, digits = (digits[0], digits[1:]) if digits[:1] in ("+", "-") else ("", digits)
    if not digits:
        return not sign and not text  # an empty text counts as 0; for blanks or a sign alone strtoll leaves a rest
    base = 16 if digits[:2] in ("0x", "0X") else 8 if digits.startswith("0") else 10
    # The digits of the base, for 16 in both cases.
    allowed = "0123456789abcdefABCDEF"[: 22 if base == 16 else base]
    digits = digits[2:] if base == 16 else digits
    if not digits or digits.strip(allowed) or len(digits.lstrip("0")) > _DIGITS:
        return False
    digits = digits[-_DIGITS:]
    return -_INT_MAX <= int(sign + digits, base) < _INT_MAX
