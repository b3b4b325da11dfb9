"""Which files a snapshot is rendered to, and which of them must be rendered again.

A mirror's row, page and documents are rendered again when its view is another object than last time.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import jinja2
from markupsafe import Markup

from schemas import states
from schemas.records import Site
from sitegen.messages.model import PastRun
from sitegen.site import documents, formats, fragments, future, tunasync
from sitegen.site.snapshot import MirrorView, Snapshot

ASSETS = ("style.css", "site.js")

_ROWS = Markup("<!--rows-->")
"""Placeholder for the rows of the index. They are joined outside the template, which would copy all of them thrice."""


class _RenderedMirror(NamedTuple):
    """The parts of a mirror that overview pages contain, and the view they were rendered from."""

    view: MirrorView
    row: bytes
    document: bytes
    job: bytes


class Pages:
    """Renders snapshots, and keeps each mirror's rendered parts for the next time."""

    def __init__(self) -> None:
        self._environment = _environment()
        self._site: Site | None = None
        self._mirrors: dict[str, _RenderedMirror] = {}

    def outdated(self, snapshot: Snapshot) -> list[MirrorView]:
        """Return the mirrors whose own files must be rendered again."""
        # Every page shows the site's title, and its times in the site's zone.
        if snapshot.site != self._site:
            self.forget()
        rendered = self._mirrors
        return [view for view in snapshot.mirrors if view.name not in rendered or rendered[view.name].view is not view]

    def mirrors(
        self, snapshot: Snapshot, views: Sequence[MirrorView], histories: Mapping[str, Sequence[PastRun]]
    ) -> dict[str, bytes]:
        """Return the files of these mirrors, by path."""
        self._prepare(snapshot)
        result: dict[str, bytes] = {}
        for view in views:
            result |= self._mirror(snapshot, view, histories[view.name])
        return result

    def overviews(self, snapshot: Snapshot) -> dict[str, bytes]:
        """Return all other files, by path. Outdated mirrors must have been rendered before."""
        self._prepare(snapshot)
        vanished = self._mirrors.keys() - {view.name for view in snapshot.mirrors}
        for name in vanished:
            del self._mirrors[name]
        by_title = sorted(snapshot.mirrors, key=lambda view: (view.definition.title or view.name).casefold())
        rendered = [self._mirrors[view.name] for view in snapshot.mirrors]
        index = self._template("index.html", rows=_ROWS if by_title else "", root="", here="index").partition(_ROWS)
        rows = [self._mirrors[view.name].row for view in by_title]
        documents_ = fragments.listed([item.document for item in rendered])
        head, tail = _dump(documents.head(snapshot)).encode(), _dump(documents.tail(snapshot)).encode()
        return _assets() | {
            "index.html": b"".join([index[0].encode(), *rows, index[2].encode()]),
            "workers.html": self._template("workers.html", root="", here="workers").encode(),
            "meta.json": _dump(documents.head(snapshot)).encode(),
            "status.json": b"".join([head[:-1], b',"mirrors":', *documents_, b",", tail[1:]]),
            "static/tunasync.json": b"".join(fragments.listed([item.job for item in rendered])),
        }

    def forget(self) -> None:
        """Render everything again the next time, because the files on disk may differ from what was rendered."""
        self._mirrors.clear()

    def _prepare(self, snapshot: Snapshot) -> None:
        self._site = snapshot.site
        self._environment.globals |= _common(snapshot)

    def _mirror(self, snapshot: Snapshot, view: MirrorView, history: Sequence[PastRun]) -> dict[str, bytes]:
        history = [item._replace(run=future.without(item.run, snapshot.made_at)) for item in history]
        url = documents.public_url(snapshot, view.name)
        document = documents.mirror(view, url)
        job = tunasync.job(snapshot, view)
        row = self._template("row.html", mirror=view) + "\n"
        page = self._template("mirror.html", mirror=view, history=history, url=url, root="../", here="").encode()
        self._mirrors[view.name] = _RenderedMirror(view, row.encode(), _dump(document).encode(), _dump(job).encode())
        alone = _dump(documents.alone(snapshot, document, history)).encode()
        # The page is copied to previous addresses. A redirect could loop with pages in browsers' caches once a mirror
        # gets its old name back.
        names = (view.name, *_free_previous_names(snapshot, view))
        return {f"mirrors/{name}.{kind}": file for name in names for kind, file in (("html", page), ("json", alone))}

    def _template(self, name: str, **values: Any) -> str:
        return self._environment.get_template(name).render(values)


def mirror_files(snapshot: Snapshot) -> list[str]:
    """Return the names of all files that belong in `mirrors/`."""
    names = [name for view in snapshot.mirrors for name in (view.name, *_free_previous_names(snapshot, view))]
    return [f"{name}.{suffix}" for name in names for suffix in ("html", "json")]


def _free_previous_names(snapshot: Snapshot, view: MirrorView) -> list[str]:
    """Return the previous names of a mirror that no other mirror has now."""
    if not view.definition.formerly:
        return []
    taken = {each.name for each in snapshot.mirrors}
    return [name for name in view.definition.formerly if name not in taken]


def _common(snapshot: Snapshot) -> dict[str, Any]:
    """Return the values that every template may use."""
    zone = ZoneInfo(snapshot.site.time_zone)
    return {
        "snapshot": snapshot,
        "site": snapshot.site,
        "when": lambda at, never="never": formats.moment(at, zone, never),
    }


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("sitegen.site", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,  # a misspelled name fails tests, and does not show as nothing
        finalize=formats.printable,  # for every value that a template shows: reports can contain control characters
        auto_reload=False,  # installed templates do not change, and each use would stat the file
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "size": formats.size,
        "duration": formats.duration,
        "segment": formats.segment,
        "href": formats.href,
        "spans": formats.spans,
        "percent": formats.percent,
        "behind": formats.behind,
        "amounts": formats.amounts,
    }
    environment.tests |= {"web": formats.is_web}
    environment.globals |= {
        "run_words": formats.RUN_WORDS,
        "verdict_words": formats.VERDICT_WORDS,
        "cause_words": formats.CAUSE_WORDS,
        "tone": formats.tone,
        "off": states.OFF,
        "active": states.ACTIVE,
        "override": documents.override,
        "generator": documents.GENERATOR,
        # In the addresses of assets, so that no browser uses those of another release from its cache.
        "version": hashlib.sha256(b"".join(_assets().values())).hexdigest()[:8],
    }
    return environment


@cache
def _assets() -> dict[str, bytes]:
    folder = files("sitegen.site") / "assets"
    return {f"assets/{name}": (folder / name).read_bytes() for name in ASSETS}


_dump = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
