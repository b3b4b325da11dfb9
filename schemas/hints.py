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
