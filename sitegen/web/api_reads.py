"""`/api/v1/`: the routes that read the site, its mirrors, its workers and their runs."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from schemas.config.rename_rules import current_names
from schemas.states import DISABLED, PAUSED
from sitegen.messages.envelope import RejectedRequest
from sitegen.messages.model import TUNASYNC, Facts
from sitegen.site import documents
from sitegen.site.fragments import Fragments, dump
from sitegen.site.snapshot import MirrorView, Snapshot
from sitegen.storage import change_store, codec, command_store, run_store
from sitegen.storage.change_store import Changes
from sitegen.storage.corruption import Damaged
from sitegen.storage.store import Store
from sitegen.web import access, endpoint
from sitegen.web.access import Access
from sitegen.web.db_timeout import read_in_thread
from sitegen.web.endpoint import Endpoint, Parameter
from sitegen.web.responses import Json, cached, for_all
from sitegen.web.snapshot_cache import SnapshotCache
from sitegen.web.waiters import Topics, notified

CHANGED = "/changes"
"""The topic of all changes. Names of workers have no slash, so it is not one of theirs."""

LOOK_EVERY = 2.0
"""Seconds between two looks for changes that another process made."""

LONGEST = 60
"""Seconds for which a request may be held."""

_API = "/api/v1"


class ReadsApi:
    """The reading routes."""

    def __init__(self, store: Store, who: Access, current: SnapshotCache, topics: Topics) -> None:
        self._store = store
        self._access = who
        self._current = current
        self._topics = topics
        self._fragments = Fragments(_mirror)

    def endpoints(self) -> list[Endpoint]:
        """Return the rows of these routes."""
        anyone = endpoint.ANYONE
        after = Parameter("after", True, "The number of the newest change that the client knows.")
        wait = Parameter("wait", True, f"Seconds to wait if nothing has changed, at most {LONGEST}.")
        paging = (
            Parameter("worker", False, "Only runs of this worker."),
            Parameter("mirror", False, "Only runs of this mirror."),
            Parameter("cursor", False, "The `cursor` of the previous answer."),
            Parameter("limit", True, "Number of runs, at most 500; 50 by default."),
        )
        return [
            Endpoint("GET", f"{_API}/catalogue", self.catalogue, "The configuration in use.", "api#catalogue", anyone),
            Endpoint("GET", f"{_API}/mirrors", self.mirrors, "All mirrors.", "api#mirrors", anyone),
            Endpoint(
                "GET", f"{_API}/mirrors/{{name}}", self.mirror, "One mirror with its last runs.", "api#mirror_alone",
                anyone, refusals=(404,),
            ),
            Endpoint(
                "GET", f"{_API}/runs", self.runs, "Runs that have ended, newest first.", "api#runs", anyone,
                parameters=paging, refusals=(400,),
            ),
            Endpoint("GET", f"{_API}/workers", self.workers, "All workers.", "api#workers", anyone),
            Endpoint(
                "GET", f"{_API}/overrides", self.overrides, "Paused and disabled mirrors, since when and by whom.",
                "api#overrides", endpoint.READER,
            ),
            Endpoint(
                "GET", f"{_API}/events", self.events, "Wait until something changes.", "api#events", anyone,
                parameters=(after, wait), refusals=(400,),
            ),
        ]  # fmt: skip

    def catalogue(self, request: Request) -> Response:
        """Return the configuration in use."""
        self._access.may_read(request, "api")
        return cached(request, self._current.written("catalogue", lambda now: _catalogue(now, self._current.facts())))

    def mirrors(self, request: Request) -> Response:
        """Return all mirrors."""
        self._access.may_read(request, "api")
        return cached(request, self._current.written("mirrors", self._all_mirrors))

    def _all_mirrors(self, snapshot: Snapshot) -> bytes:
        head = dump({**documents.head(snapshot), "changes": snapshot.changes}).encode()
        return b"".join([head[:-1], b',"mirrors":', *self._fragments.listed(snapshot), b"}"])

    def mirror(self, request: Request) -> Response:
        """Return one mirror with its last runs."""
        self._access.may_read(request, "api")
        snapshot = self._current.snapshot()
        name = self._names().get(request.path_params["name"], request.path_params["name"])
        view = next((view for view in snapshot.mirrors if view.name == name), None)
        if view is None:
            raise RejectedRequest(404, f"unknown mirror {name}")
        self._require_intact(view)
        with self._store.reading() as reader:
            history = reader.histories([name], {name: view.definition.formerly})[name]
        document = documents.mirror(view, documents.public_url(snapshot, name))
        return for_all(documents.alone(snapshot, document, history))

    def _require_intact(self, view: MirrorView) -> None:
        """Raise Damaged if a row of a mirror cannot be read. The list of all mirrors leaves such rows out."""
        damaged = self._current.facts().damaged
        for name in (view.name, *view.definition.formerly):
            for copy in view.copies:
                if what := damaged.get((copy.worker, name)):
                    raise Damaged(what)

    def runs(self, request: Request) -> Response:
        """Return a page of the history of runs."""
        self._access.may_read(request, "api")
        worker, mirror, current = access.name(request, "worker"), access.name(request, "mirror"), self._names()
        mirror = current.get(mirror, mirror)
        names = [mirror, *(previous for previous, name in current.items() if name == mirror)] if mirror else []
        limit = max(1, access.number(request, "limit", 50, 500))
        cursor = request.query_params.get("cursor", "")
        found, following = run_store.page(self._store, worker, names, cursor, limit)
        return for_all({"runs": [_run(item, current) for item in found], "cursor": following})

    def _names(self) -> dict[str, str]:
        """Return the current name of each previous one."""
        declared = self._current.facts().declared
        return current_names(declared.mirrors) if declared else {}

    def workers(self, request: Request) -> Response:
        """Return all workers."""
        self._access.may_read(request, "api")
        return cached(request, self._current.written("workers", lambda now: _workers(now, self._current.facts())))

    def overrides(self, request: Request) -> Response:
        """Return the paused and disabled mirrors."""
        self._access.reader(request)
        return Json({"overrides": _overrides(self._current.snapshot(), command_store.last_overriding(self._store))})

    async def events(self, request: Request) -> Response:
        """Answer at once if something has changed, else when it does or the time is up."""
        await self._access.checked(partial(self._access.may_read, what="api"), request)
        after = access.number(request, "after", 0, 2**53)
        loop = asyncio.get_running_loop()
        until = loop.time() + access.number(request, "wait", 0, LONGEST)
        with self._topics.subscribed(CHANGED) as subscription:
            found = await self._since(after)
            while found.changes == after and loop.time() < until and not self._topics.closed:
                is_notified = await notified(subscription, min(until, loop.time() + LOOK_EVERY))
                if is_notified or await read_in_thread(self._current.changes) != after:
                    found = await self._since(after)
        return for_all(found._asdict())

    async def _since(self, after: int) -> Changes:
        return await read_in_thread(self._changes, after)

    def _changes(self, after: int) -> Changes:
        """Return the changes by current names: a worker that is behind reports previous ones."""
        found = change_store.since(self._store, after)
        current = self._names() if found.mirrors else {}
        return found._replace(mirrors=tuple(sorted({current.get(name, name) for name in found.mirrors})))


def _catalogue(snapshot: Snapshot, facts: Facts) -> dict[str, Any]:
    declared = facts.declared
    return {
        **documents.head(snapshot),
        **documents.notes(snapshot),
        "problems": list(snapshot.problems),
        "site": codec.plain_site(snapshot.site),
        "workers": codec.plain_workers(declared.workers.values()) if declared else [],
        "mirrors": codec.plain_mirrors(declared.mirrors if declared else ()),
    }


def _mirror(snapshot: Snapshot, view: MirrorView) -> dict[str, Any]:
    return documents.mirror(view, documents.public_url(snapshot, view.name))


def _workers(snapshot: Snapshot, facts: Facts) -> dict[str, Any]:
    foreign = {state.name for state in facts.workers if state.journal == TUNASYNC}
    workers = [
        {"name": worker["name"], "kind": "tunasync" if worker["name"] in foreign else "skipjack", **worker}
        for worker in documents.tail(snapshot)["workers"]
    ]
    return {**documents.head(snapshot), "workers": workers}


def _run(item: run_store.EndedRun, current: Mapping[str, str]) -> dict[str, Any]:
    plain = item.run._asdict()
    del plain["log_tail"]
    return {"worker": item.worker, "mirror": current.get(item.mirror, item.mirror), **plain}


def _overrides(snapshot: Snapshot, given: dict[tuple[str, str], Any]) -> list[dict[str, Any]]:
    found = []
    for mirror in snapshot.mirrors:
        for copy in mirror.copies:
            if copy.status.status in (PAUSED, DISABLED):
                names = (mirror.name, *mirror.definition.formerly)
                by = next(filter(None, (given.get((copy.worker, name)) for name in names)), None)
                shown = documents.override(copy.status) or {}
                if by and shown["since"] is None:  # an older worker does not report it
                    shown |= {"since": by.ended_at, "by": by.issued_by, "reason": by.note or None}
                found.append({"worker": copy.worker, "mirror": mirror.name, **shown})
    return sorted(found, key=lambda item: (item["worker"], item["mirror"]))
