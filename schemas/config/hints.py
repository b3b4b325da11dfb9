"""Warnings about valid configuration: settings without effect, or that are better written in another way."""

import re
from collections.abc import Iterable, Iterator

from schemas.config import built_in, rsync_mistakes, rsync_rules, shell_doubts
from schemas.config.sources import is_hidden
from schemas.plugins import PROVIDER
from schemas.problems import shown
from schemas.records import Mirror
from schemas.rsync import rsync_options, rsync_output

_MOST = 1_000_000_000
"""The highest number that `max_delete` accepts."""


def of_mirrors(mirrors: Iterable[Mirror]) -> list[str]:
    """Return a line for each warning, once for a mirror on several workers."""
    return list(dict.fromkeys(line for mirror in mirrors for line in _of_mirror(mirror)))


def of_files(paths: Iterable[str]) -> list[str]:
    """Return a line for each file that is not read, but may be meant as configuration."""
    return [*map(_of_file, paths)]


def _of_file(path: str) -> str:
    elsewhere = "or remove it, or move it into a hidden folder (`.NAME/`)"
    if is_hidden(path):
        return f"{path} is ignored: its name begins with a dot. Rename it if it is a definition, {elsewhere}."
    todo = f"Rename it to end with `.yml` if it is one, {elsewhere}"
    return f"{path} is ignored: only files that end with `.yml` are definitions. {todo}."


def _of_mirror(mirror: Mirror) -> Iterator[str]:
    yield from _command_lines(mirror)
    if mirror.provider == "command":
        if not (mirror.measure_size or mirror.size_pattern or mirror.max_delete == "100%"):
            what = "with `measure_size: false` and no `size_pattern` the deletion guard notices only the loss of"
            yield f"`{mirror.name}`: {what} the last file. Set `size_pattern`, or remove `measure_size: false`."
        return
    is_rsync = mirror.provider in built_in.names(PROVIDER)
    if (
        is_rsync
        and mirror.password is not None
        # rsync(1) sends the value of `USER` if no address has a name.
        and not (mirror.username or "@" in mirror.upstream or "USER" in mirror.env)
    ):
        what = "`password` without `username`: rsync sends the name of the worker's own user."
        yield f"`{mirror.name}`: {what} Add `username:`."
    if is_rsync:
        yield from _upstream(mirror)
    for key in rsync_rules.in_force(mirror._asdict()):
        words = getattr(mirror, key)
        if found := rsync_output.harmless(words):
            options = ", ".join(f"`{shown(each)}`" for each in found)
            what = f"{options} in `{key}` has no effect: Skipjack sets the output options of rsync."
            yield f"`{mirror.name}`: {what} Remove it."
        for each in rsync_mistakes.quoted(words):
            what = f"`{shown(each)}` in `{key}` has quotes, which rsync reads as a part of the value."
            yield f"`{mirror.name}`: {what} Remove them."
        for option in rsync_options.read(words).named("--max-delete"):
            number = rsync_options.number(option.value or "")
            yield f"`{mirror.name}`: `--max-delete={number}` in `{key}` {_own_limit(mirror, number)}"


def _upstream(mirror: Mirror) -> Iterator[str]:
    path = mirror.upstream.partition("::")[2] or mirror.upstream.partition("://")[2] or mirror.upstream
    if found := re.search(r"[*?]|\[[^/\]]*\](?=.*/)", path.partition("/")[2] or path):
        what = f"the path of `upstream` has `{shown(found[0])}`: the files of all directories that match come into one"
        yield f"`{mirror.name}`: {what}. Name one directory."
    if ".." in path.split("/"):
        yield f"`{mirror.name}`: the path of `upstream` has `..`, which daemons treat differently. Write it without."


def _command_lines(mirror: Mirror) -> Iterator[str]:
    """Yield doubtful command lines. `exec_on_*` is often inherited, so its lines do not name the mirror."""
    for what, todo in shell_doubts.of_lines("command", [mirror.command]):
        yield f"`{mirror.name}`: {what} {todo}"
    for key in ("exec_on_success", "exec_on_failure"):
        lines = [*getattr(mirror, key), *getattr(mirror, f"{key}_extra")]
        for what, todo in shell_doubts.of_lines(key, lines):
            yield f"{what} {todo}"


def _own_limit(mirror: Mirror, number: int) -> str:
    """Return the effect of a `--max-delete` beside that of the deletion guard, and what to do."""
    most = mirror.max_delete
    if number in (rsync_options.NO_MAX_DELETE, most) or number > (most if isinstance(most, int) else _MOST):
        return f"has no effect beside `max_delete: {most}`. Remove it."
    if number > 0:
        share = "" if isinstance(most, int) else f" (it is `{most}` now)"
        return f"is a second limit beside the deletion guard. Write `max_delete: {number}` instead{share}."
    what = "allows no deletion: a run with a file to delete is refused. Write `max_delete: 0` instead"
    return f"{what}; to keep files that the upstream has deleted, write an `rsync_override` without `--delete`."
