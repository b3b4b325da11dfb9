"""Rules about a mirror's rsync options that hold on every machine; a policy may forbid more."""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from schemas.config import rsync_mistakes
from schemas.config.inheritance import Merged, PlainKeys
from schemas.config.judgeable_keys import entries, is_known, judged
from schemas.mirror_record import RSYNC_PROVIDERS
from schemas.problems import Problem, shown
from schemas.rsync import rsync_options
from schemas.rsync.rsync_options import Reading

_LISTS = ("rsync_options", "rsync_options_extra", "rsync_override")

_NOTHING = "transfers nothing"
_NO_SYNC = {
    "--dry-run": _NOTHING, "--list-only": _NOTHING, "--only-write-batch": _NOTHING, "--version": _NOTHING,
    "--help": _NOTHING, "--read-batch": "reads a file in place of the upstream",
}  # fmt: skip
"""Options, by canonical name, with which rsync exits with success but syncs nothing; and what it does."""

_REMOVE = "Remove it; `skipjack run NAME --dry-run` shows the effect of a run."
_RECURSIVE = {"--archive": 1, "--recursive": 1, "--no-recursive": 0}
_DIRS = {"--dirs": 1, "--old-dirs": 1, "--files-from": 1, "--no-dirs": 0}


def mirror_problems(merged: Merged) -> Iterator[Problem]:
    """Yield options that rsync rejects, alone or together, and those with which it would sync nothing."""
    for key in _LISTS:
        yield from judged(_without_value(merged, key))
    rsync = merged.keys.get("provider") in RSYNC_PROVIDERS
    for key, what, todo in _of_lists(merged.keys) if rsync else without_sync(merged.keys):
        yield merged.problem(key, what, todo)


def _of_lists(keys: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield the problems of the lists for rsync, each alone and all together; one wrong list hides no other."""
    # Of the lists, only this one is in force whether `rsync_override_only` is set or not.
    names = _names(keys) if is_known(keys, "rsync_override_only") else ("rsync_override",)
    for name in names:
        yield from judged(_of_list(name, keys))
    # The words of a wrong list could turn options on or off.
    known = [name for name in names if is_known(keys, name) and keys.get(name)]
    complete = is_known(keys, "rsync_override_only") and all(is_known(keys, name) for name in names)
    yield from _together(known, keys, complete=complete)
    yield from rsync_mistakes.together(known, keys, complete=complete)


def _of_list(name: str, keys: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for words in _runs(entries(keys, name)):
        yield from _without_sync_alone([name], {name: words})
        for what, todo in rsync_mistakes.in_list(words):
            yield name, f"`{name}` {what}", todo


def _runs(known: Iterable[tuple[int, str]]) -> list[list[str]]:
    """Return the words of a list between those that cannot be judged."""
    runs: list[list[str]] = [[]]
    end = 0
    for place, word in known:
        if place != end:
            runs.append([])
        runs[-1].append(word)
        end = place + 1
    return runs


def _without_value(merged: Merged, key: str) -> Iterator[Problem]:
    for fault in rsync_options.read_past_faults(merged.keys.get(key, ())).faults:
        if fault.kind == rsync_options.NO_VALUE:
            what = f"`{key}` ends with `{shown(fault.spelling)}`, which needs a value."
            yield merged.problem(key, what, "Add the value, or remove the option.")


def without_sync(keys: PlainKeys) -> list[tuple[str, str, str]]:
    """Return the keys with which rsync would silently sync nothing, each with the reason and what to do."""
    match keys.get("provider"):
        case "rsync" | "two-stage-rsync":
            names = in_force(keys)
            return [*_without_sync_alone(names, keys), *_together(names, keys)]
        case "command":
            return list(_command_line(keys.get("command", "")))
    return []


def _without_sync_alone(names: Sequence[str], keys: PlainKeys) -> list[tuple[str, str, str]]:
    return [
        (key, f"`{key}` {what}", _REMOVE)
        for key in names
        for what in _single(rsync_options.read_past_faults(keys[key]))
    ]


def in_force(keys: PlainKeys) -> list[str]:
    """Return the keys whose options are passed to a mirror's rsync, in this order."""
    return [name for name in _names(keys) if keys.get(name)]


def _names(keys: PlainKeys) -> tuple[str, ...]:
    return ("rsync_override",) if keys.get("rsync_override_only") else ("rsync_override", *_LISTS[:2])


def _single(reading: Reading) -> Iterator[str]:
    """Yield the options of a list that alone keep rsync from syncing."""
    for option in reading.named(*_NO_SYNC):
        yield f"has `{shown(option.spelling)}`, with which rsync {_NO_SYNC[option.name]}."
    for fault in reading.faults:
        if fault.kind == rsync_options.OTHER_MODE:
            yield f"has `{shown(fault.spelling)}`, with which rsync runs as a server."


def _together(names: Sequence[str], keys: PlainKeys, *, complete: bool = True) -> Iterator[tuple[str, str, str]]:
    """Yield the problems that only the options of several lists show; `complete` says that these are all lists."""
    readings = {name: rsync_options.read_past_faults(keys[name]) for name in names}
    # Those of `_NO_SYNC` must be removed; without other options in `rsync_override` the built-in ones are in force.
    options = {
        name: [each for each in reading.options if each.name not in _NO_SYNC] for name, reading in readings.items()
    }
    begin = () if options.get("rsync_override") else rsync_options.read(("-a",)).options
    whole = Reading(
        (*begin, *(option for each in options.values() for option in each)),
        (),
        tuple([fault for reading in readings.values() for fault in reading.faults]),
    )
    listed = " and ".join(f"`{name}`" for name in names)
    for what, todo in _without_transfers(whole, complete=complete):
        yield names[-1], f"With the options in {listed} {what}.", todo


def _without_transfers(reading: Reading, *, complete: bool = True) -> Iterator[tuple[str, str]]:
    """Yield why rsync would transfer nothing from a directory with these options, and what to do."""
    # Corrected, an unknown option may be one of these.
    faults = (fault for fault in reading.faults if fault.kind != rsync_options.END)
    unread = {rsync_options.canonical(fault.spelling) for fault in faults}
    complete &= unread.isdisjoint((None, *_RECURSIVE, *_DIRS))
    if complete and not _last(reading, _RECURSIVE) and not _last(reading, _DIRS):
        yield "rsync skips all directories, the upstream's top one included", "Add `-a` or `-r`."
    if len({option.name for option in reading.named("--existing", "--ignore-existing")}) > 1:
        todo = "Remove one of them."
        yield "rsync transfers nothing: `--existing` and `--ignore-existing` together exclude every file", todo


def _last(reading: Reading, values: Mapping[str, int]) -> int:
    """Return the value that the last of some options sets; 0 without any."""
    found = reading.named(*values)
    return values[found[-1].name] if found else 0


def _command_line(line: str) -> Iterator[tuple[str, str, str]]:
    """Yield the problems of a `command` that runs rsync."""
    try:
        program, *words = shlex.split(line)
    except ValueError:  # no words, or quotes without an end: another rule reports that
        return
    if PurePosixPath(program).name != "rsync":
        return
    reading = rsync_options.read(words)
    yield from [("command", f"`command` {what}", _REMOVE) for what in _single(reading)]
    if reading.fault is not None:
        return  # a newer rsync may know more options
    places = [words[number] for number in reading.operands]
    if len(places) < 2:
        what = "`command` does not name a target, so rsync only lists files."
        yield "command", what, "Name the source, then `./`, which is the mirror's directory."
    elif all(place.endswith("/") for place in places[:-1]):  # else it may fetch single files
        for what, todo in _without_transfers(reading):
            yield "command", f"With the options in `command` {what}.", todo
