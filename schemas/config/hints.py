"""What a configuration says without effect, or better in another way: it is in force, and worth a line."""

from collections.abc import Iterable, Iterator

from schemas.config import rsync_mistakes, rsync_rules, shell_doubts
from schemas.config.sources import is_hidden
from schemas.problems import shown
from schemas.records import Mirror
from schemas.rsync import rsync_options, rsync_output

_MOST = 1_000_000_000
"""The highest number that `max_delete` takes."""


def of_mirrors(mirrors: Iterable[Mirror]) -> list[str]:
    """Return a line for each thing worth a warning, once for a mirror on several workers."""
    return list(dict.fromkeys(line for mirror in mirrors for line in _of_mirror(mirror)))


def of_files(paths: Iterable[str]) -> list[str]:
    """Return a line for each file that was passed over and may have been meant as configuration."""
    return [*map(_of_file, paths)]


def _of_file(path: str) -> str:
    elsewhere = "or else remove it or move it into a folder that begins with a dot"
    if is_hidden(path):
        return f"{path} is not read, since its name begins with a dot: rename it if it is a definition, {elsewhere}."
    todo = f"rename it to end with `.yml` if it is one, {elsewhere}"
    return f"{path} is not read, since only files that end with `.yml` are definitions: {todo}."


def _of_mirror(mirror: Mirror) -> Iterator[str]:
    yield from _command_lines(mirror)
    if mirror.provider == "command":
        if not (mirror.measure_size or mirror.size_pattern or mirror.max_delete == "100%"):
            what = "with `measure_size: false` and no `size_pattern` the deletion guard notices only the loss of"
            yield f"`{mirror.name}`: {what} the last file. Set `size_pattern`, or remove `measure_size: false`."
        return
    if mirror.password is not None and not (mirror.username or "@" in mirror.upstream or "USER" in mirror.env):
        what = "`password` without `username`: rsync gives the upstream the name of the worker's own user."
        yield f"`{mirror.name}`: {what} Add `username:`."
    for key in rsync_rules.in_force(mirror._asdict()):
        words = getattr(mirror, key)
        if found := rsync_output.harmless(words):
            options = ", ".join(f"`{shown(each)}`" for each in found)
            yield f"`{mirror.name}`: {options} in `{key}` has no effect: Skipjack sets what rsync prints. Remove it."
        for each in rsync_mistakes.quoted(words):
            what = f"`{shown(each)}` in `{key}` has quotes that no shell removes, so rsync looks for them in names."
            yield f"`{mirror.name}`: {what} Remove them."
        for option in rsync_options.read(words).named("--max-delete"):
            number = rsync_options.number(option.value or "")
            yield f"`{mirror.name}`: `--max-delete={number}` in `{key}` {_own_limit(mirror, number)}"


def _command_lines(mirror: Mirror) -> Iterator[str]:
    """Doubtful command lines. Those beside a run are often inherited, so they are told without the mirror's name."""
    for what, todo in shell_doubts.of_lines("command", [mirror.command]):
        yield f"`{mirror.name}`: {what} {todo}"
    for key in ("exec_on_success", "exec_on_failure"):
        lines = [*getattr(mirror, key), *getattr(mirror, f"{key}_extra")]
        for what, todo in shell_doubts.of_lines(key, lines):
            yield f"{what} {todo}"


def _own_limit(mirror: Mirror, number: int) -> str:
    """What an own limit of deletions means beside that of Skipjack's guard, and what to do."""
    most = mirror.max_delete
    if number in (rsync_options.NO_MAX_DELETE, most) or number > (most if isinstance(most, int) else _MOST):
        return f"is no limit beside `max_delete: {most}`. Remove it."
    if number > 0:
        share = "" if isinstance(most, int) else f", in place of the share `{most}`"
        return f"is one more limit for Skipjack's own guard. Write `max_delete: {number}` instead{share}."
    what = "allows no deletion: a run with a file to delete is refused. Write `max_delete: 0` instead"
    return f"{what}; to keep what the upstream has deleted, write an `rsync_override` without `--delete`."
