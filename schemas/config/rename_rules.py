"""Previous names of mirrors (`formerly`): which claims are invalid, and which mirror has a name now."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from schemas.config.folders import directory_key
from schemas.records import Mirror


class WrongClaim(NamedTuple):
    """An invalid previous name: the mirror, the index in `formerly`, the message, and what to do."""

    mirror: Mirror
    place: int
    what: str
    todo: str


def wrong_claims(mirrors: Iterable[Mirror], files: Mapping[str, str]) -> Iterator[WrongClaim]:
    """Yield previous names that are still in use, or that two mirrors claim; `files` maps each name to its file.

    Upper and lower case count as equal, except for a mirror whose name has only changed its case. An empty name stands
    for a wrong one.
    """
    claims = [(each, place, previous) for each in mirrors for place, previous in enumerate(each.formerly) if previous]
    in_use = {name.lower(): (name, file) for name, file in files.items()}
    claimed: dict[str, list[str]] = {}
    for mirror, _, previous in claims:
        claimed.setdefault(previous.lower(), []).append(mirror.name)
    for mirror, place, previous in claims:
        name = mirror.name
        user, file = in_use.get(previous.lower(), ("", ""))
        rivals = [rival for rival in claimed[previous.lower()] if rival != name]
        if previous == name:
            yield WrongClaim(mirror, place, f"`{name}` is the mirror's current name.", "List only previous names.")
        elif user not in ("", name):
            todo = f"Remove that file if `{name}` replaces it, or else remove the name from `formerly`."
            yield WrongClaim(mirror, place, f"The previous name `{previous}` is still in use ({file}).", todo)
        elif rivals:
            what = f"`{rivals[0]}` ({files[rivals[0]]}) claims the previous name `{previous}` as well."
            yield WrongClaim(mirror, place, what, "Only one mirror can continue its history.")


def moves(mirrors: Iterable[Mirror]) -> list[str]:
    """Return a line for each renamed mirror whose directory an admin has to move, since it has the mirror's name."""
    where: dict[str, list[Mirror]] = {}
    for mirror in mirrors:
        if mirror.formerly and mirror.mirror_dir is None:
            where.setdefault(mirror.name, []).append(mirror)
    return [
        f"`{name}` was called `{found[0].formerly[0]}`: its files belong in {directory_key(found[0])}"
        f" on {', '.join(f'`{mirror.worker}`' for mirror in found)}. Move them, or set `mirror_dir`."
        for name, found in where.items()
    ]


def current_names(mirrors: Iterable[Mirror]) -> dict[str, str]:
    """Return the current name for each previous name."""
    return {previous: mirror.name for mirror in mirrors for previous in mirror.formerly}
