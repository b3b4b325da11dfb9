"""From a snapshot to the site's files, rendering again only what has changed.

A mirror's row, page and documents are made anew when what is known of the mirror changed. Its worker's signs of life
move the moment at which it turns unknown all the time, so that moment counts only in coarse steps: a page is never
older than one, and says what is so all the same, because its script turns it by itself at the moment it carries.
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

from schemas.states import FRESHNESS
from sitegen import documents, formats, tunasync
from sitegen.model import PastRun
from sitegen.snapshot import MirrorView, Snapshot, count

ASSETS = ("style.css", "site.js")
STEPS = 4
"""How many coarse steps there are in the time after which a worker counts as silent."""


class _Rendered(NamedTuple):
    key: object
    row: Markup
    document: str
    job: str


class Pages:
    """Renders snapshots; remembers what it rendered."""

    def __init__(self) -> None:
        self._environment = _environment()
        self._mirrors: dict[str, _Rendered] = {}

    def outdated(self, snapshot: Snapshot) -> list[MirrorView]:
        """The mirrors whose own files have to be made anew; their histories are needed for that."""
        return [view for view in snapshot.mirrors if self._key(view.name) != _key(snapshot, view)]

    def render(self, snapshot: Snapshot, histories: Mapping[str, Sequence[PastRun]]) -> dict[str, bytes]:
        """The files that may have changed, by their path; mirrors without a history given keep their files."""
        self._environment.globals |= _common(snapshot)
        result: dict[str, bytes] = {}
        views = {view.name: view for view in snapshot.mirrors}
        for name, history in histories.items():
            result |= self._mirror(snapshot, views[name], history)
        for name in self._mirrors.keys() - views.keys():
            del self._mirrors[name]
        return result | self._overviews(snapshot) | _assets()

    def forget(self) -> None:
        """Render everything again the next time, because the files may not be what was rendered."""
        self._mirrors.clear()

    def _key(self, name: str) -> object:
        rendered = self._mirrors.get(name)
        return rendered.key if rendered else None

    def _mirror(self, snapshot: Snapshot, view: MirrorView, history: Sequence[PastRun]) -> dict[str, bytes]:
        url = documents.public_url(snapshot, view.name)
        row = Markup(self._template("row.html", mirror=view))  # noqa: S704 - rendered with escaping
        document = _dump(documents.mirror(view, url))
        job = _dump(tunasync.job(view, ZoneInfo(snapshot.site.time_zone)))
        page = self._template("mirror.html", mirror=view, history=history, url=url, root="../", here="")
        self._mirrors[view.name] = _Rendered(_key(snapshot, view), row, document, job)
        return {
            f"mirrors/{view.name}.html": page.encode(),
            f"mirrors/{view.name}.json": _dump(documents.mirror_alone(snapshot, view, history)).encode(),
        }

    def _overviews(self, snapshot: Snapshot) -> dict[str, bytes]:
        by_title = sorted(snapshot.mirrors, key=lambda view: (view.definition.title or view.name).casefold())
        counts = {verdict: count(snapshot.mirrors, verdict) for verdict in FRESHNESS}
        rows = Markup("\n").join(self._mirrors[view.name].row for view in by_title)
        index = self._template("index.html", rows=rows, counts=counts, root="", here="index")
        rendered = [self._mirrors[view.name] for view in snapshot.mirrors]
        status = _dump(documents.head(snapshot))[:-1] + ',"mirrors":[' + ",".join(item.document for item in rendered)
        return {
            "index.html": index.encode(),
            "workers.html": self._template("workers.html", root="", here="workers").encode(),
            "status.json": (status + "]," + _dump(documents.tail(snapshot))[1:]).encode(),
            "static/tunasync.json": f"[{','.join(item.job for item in rendered)}]".encode(),
        }

    def _template(self, name: str, **values: Any) -> str:
        return self._environment.get_template(name).render(values)


def mirror_files(snapshot: Snapshot) -> list[str]:
    """The names of all files that belong in `mirrors/`."""
    return [f"{view.name}.{suffix}" for view in snapshot.mirrors for suffix in ("html", "json")]


def _key(snapshot: Snapshot, view: MirrorView) -> object:
    coarse = [
        copy._replace(unknown_at=copy.unknown_at and copy.unknown_at // (copy.silent_after / STEPS))
        for copy in view.copies
    ]
    return snapshot.site, snapshot.revision, view.definition, coarse


def _common(snapshot: Snapshot) -> dict[str, Any]:
    """What every template may use."""
    zone = ZoneInfo(snapshot.site.time_zone)
    return {
        "snapshot": snapshot,
        "site": snapshot.site,
        "when": lambda at, never="never": formats.moment(at, zone, never),
    }


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("sitegen", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=formats.printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "size": formats.size,
        "duration": formats.duration,
        "segment": formats.segment,
        "spans": formats.spans,
    }
    environment.tests |= {"web": formats.is_web}
    environment.globals |= {
        "run_words": formats.RUN_WORDS,
        "tone": formats.tone,
        "generator": documents.GENERATOR,
        "version": hashlib.sha256(b"".join(_assets().values())).hexdigest()[:8],
    }
    return environment


@cache
def _assets() -> dict[str, bytes]:
    folder = files("sitegen") / "assets"
    return {f"assets/{name}": (folder / name).read_bytes() for name in ASSETS}


def _dump(plain: Any) -> str:
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"))
