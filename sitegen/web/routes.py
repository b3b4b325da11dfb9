"""The manager's application: every route, and what is answered when something goes wrong."""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

from schemas.records import ManagerSettings
from sitegen.storage.store import Store
from sitegen.web import endpoint, openapi, responses, tunasync_reads
from sitegen.web.access import Access
from sitegen.web.addresses import networks
from sitegen.web.api_commands import Commands
from sitegen.web.api_reads import Reads
from sitegen.web.api_reports import Reports
from sitegen.web.control import Control
from sitegen.web.db_timeout import patient
from sitegen.web.denied_audit import Refusals
from sitegen.web.endpoint import Endpoint
from sitegen.web.front import Front
from sitegen.web.gate import Gate
from sitegen.web.ingest import Ingest
from sitegen.web.limits import RateLimit
from sitegen.web.metrics import Metrics
from sitegen.web.snapshot_cache import Current
from sitegen.web.tunasync_control import TunasyncControl
from sitegen.web.tunasync_reads import TunasyncReads
from sitegen.web.tunasync_writes import TunasyncWrites
from sitegen.web.waiters import Bells


def endpoints(
    store: Store,
    ingest: Ingest,
    settings: ManagerSettings,
    bells: Bells,
    access: Access,
    reports: Reports,
    gate: Gate,
) -> list[Endpoint]:
    """Every row of the API."""
    current = Current(store)
    control = Control(current)
    shared, expire = settings.database is not None, settings.commands_expire
    commands = Commands(store, access, control, bells, expire=expire, shared=shared)
    rows = [
        *reports.endpoints(),
        *commands.endpoints(),
        *Reads(store, access, current, bells).endpoints(),
        Endpoint("GET", "/ping", tunasync_reads.ping, "Say that somebody is there.", "api#pong", endpoint.ANYONE),
    ]
    if settings.tunasync.reads:
        rows += TunasyncReads(store, access, current).endpoints()
    rows += TunasyncWrites(store, access, ingest).endpoints()
    rows += TunasyncControl(store, access, control, commands, settings.tunasync).endpoints()
    rows += Metrics(access, current, store, gate).endpoints()
    rows.append(openapi.endpoint_of(rows))
    return rows


def application(
    store: Store, ingest: Ingest, settings: ManagerSettings, bells: Bells, refusals: Refusals, gate: Gate
) -> Front:
    """The ASGI application."""
    access = Access(store, settings)
    reports = Reports(access, ingest, store)
    rows = endpoints(store, ingest, settings, bells, access, reports, gate)
    watched = [refusals.watched(row, access) for row in rows]
    application = Starlette(
        middleware=[Middleware(RateLimit, limits=settings.limits, who=access)],
        routes=[Route(row.path, patient(row.handler), methods=[row.method]) for row in watched],
        exception_handlers=responses.HANDLERS,
    )
    application.router.redirect_slashes = False  # that would copy the request's `Host`; `answers` does it without
    proxies = [str(each) for each in networks(settings.trusted_proxies, "trusted_proxies")]
    return Front(application, reports, access, proxies, TunasyncWrites(store, access, ingest))
