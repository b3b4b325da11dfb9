"""Lists of all mirrors as JSON: what tells of one mirror is written once and kept until something about it changes.

Ten thousand mirrors take a quarter of a second to write, and one report alters one of them.
"""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from schemas.records import Site
from sitegen.site.snapshot import MirrorView, Snapshot

dump = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class _CachedFragment(NamedTuple):
    view: MirrorView
    text: bytes


class Fragments:
    """Remembers what `make` gives for a mirror, from the snapshot and the view."""

    def __init__(self, make: Callable[[Snapshot, MirrorView], Any]) -> None:
        self._make = make
        self._site: Site | None = None
        self._written: dict[str, _CachedFragment] = {}

    def listed(self, snapshot: Snapshot) -> list[bytes]:
        """The list of all mirrors in pieces. One thread at a time."""
        before, self._written = self._written if snapshot.site == self._site else {}, {}
        self._site = snapshot.site
        for view in snapshot.mirrors:
            held = before.get(view.name)
            if held is None or held.view is not view:
                held = _CachedFragment(view, dump(self._make(snapshot, view)).encode())
            self._written[view.name] = held
        return listed([written.text for written in self._written.values()])


def listed(parts: list[bytes]) -> list[bytes]:
    """A list of JSON in pieces, so that whoever needs it inside of something larger joins everything but once."""
    result = [b","] * (2 * len(parts) - 1)
    result[::2] = parts
    return [b"[", *result, b"]"]
