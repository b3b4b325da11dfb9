"""Former names of mirrors: which of them cannot be claimed, and who has them now."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from schemas.config.rules import directory_key
from schemas.records import Mirror


class Claim(NamedTuple):
    """A former name that a mirror cannot have: the mirror, the name's place in `formerly`, why not, what to do."""

    name: str
    place: int
    what: str
    todo: str


def wrong_claims(mirrors: Iterable[Mirror], files: Mapping[str, str]) -> Iterator[Claim]:
    """Former names that are still in use, or that two mirrors claim; `files` are those that declare each name.

    Letters' case makes no difference, but for a mirror whose name has only changed its case.
    """
    claims = {each.name: each.formerly for each in mirrors if each.formerly}
    in_use = {name.lower(): (name, file) for name, file in files.items()}
    claimed: dict[str, list[str]] = {}
    for name, formerly in claims.items():
        for former in formerly:
            claimed.setdefault(former.lower(), []).append(name)
    for name, formerly in claims.items():
        for place, former in enumerate(formerly):
            user, file = in_use.get(former.lower(), ("", ""))
            rivals = [rival for rival in claimed[former.lower()] if rival != name]
            if former == name:
                yield Claim(name, place, f"`{name}` is the mirror's name of today.", "Name only those that it had.")
            elif user not in ("", name):
                todo = f"Remove that file if `{name}` takes its place, or else take the name out of `formerly`."
                yield Claim(name, place, f"The former name `{former}` is still declared ({file}).", todo)
            elif rivals:
                what = f"`{rivals[0]}` ({files[rivals[0]]}) claims the former name `{former}` as well."
                yield Claim(name, place, what, "Only one mirror can go on where that one ended.")


def moves(mirrors: Iterable[Mirror]) -> list[str]:
    """What people have to see to on the workers, since renamed mirrors' directories are named after them."""
    where: dict[str, list[Mirror]] = {}
    for mirror in mirrors:
        if mirror.formerly and mirror.mirror_dir is None:
            where.setdefault(mirror.name, []).append(mirror)
    return [
        f"`{name}` was called `{found[0].formerly[0]}`: its files belong into {directory_key(found[0])}"
        f" on {', '.join(f'`{mirror.worker}`' for mirror in found)}; move them there, or set `mirror_dir`."
        for name, found in where.items()
    ]


def current_names(mirrors: Iterable[Mirror]) -> dict[str, str]:
    """The name of today for each former one."""
    return {former: mirror.name for mirror in mirrors for former in mirror.formerly}
