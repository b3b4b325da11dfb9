"""What a configuration says without effect, or better in another way: it is in force, and worth a line."""

from collections.abc import Iterable, Iterator

from schemas import rsync_options, rsync_output
from schemas.idle_keys import RSYNC_LISTS
from schemas.problems import shown
from schemas.records import Mirror


def of_mirrors(mirrors: Iterable[Mirror]) -> list[str]:
    """Return a line for each thing worth a warning, once for a mirror on several workers."""
    return list(dict.fromkeys(line for mirror in mirrors for line in _of_mirror(mirror)))


def _of_mirror(mirror: Mirror) -> Iterator[str]:
    if mirror.provider == "command" and not (mirror.measure_size or mirror.size_pattern or mirror.max_delete == "100%"):
        what = (
            "with `measure_size: false` and no `size_pattern` the deletion guard notices only the loss of the last file"
        )
        yield f"`{mirror.name}`: {what}. Set `size_pattern`, or remove `measure_size: false`."
    for key in RSYNC_LISTS:
        words = getattr(mirror, key)
        if not words:
            continue
        if found := rsync_output.harmless(words):
            options = ", ".join(f"`{shown(each)}`" for each in found)
            yield f"`{mirror.name}`: {options} in `{key}` has no effect: Skipjack sets what rsync prints. Remove it."
        for option in rsync_options.read(words).named("--max-delete"):
            what = f"`{mirror.name}`: `--max-delete` in `{key}` is one more limit for Skipjack's own guard."
            yield f"{what} Write `max_delete: {shown(option.value or '0')}` instead."
