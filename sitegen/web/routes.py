"""The manager's application: every route, and what is answered when something goes wrong."""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

from schemas.records import ManagerSettings
from sitegen.storage.store import Store
from sitegen.web import answers, endpoint, openapi, tunasync_reads
from sitegen.web.access import Access
from sitegen.web.api_commands import Commands
from sitegen.web.api_reads import Reads
from sitegen.web.api_reports import Reports
from sitegen.web.bells import Bells
from sitegen.web.control import Control
from sitegen.web.current import Current
from sitegen.web.endpoint import Endpoint
from sitegen.web.fast_lane import FastLane
from sitegen.web.ingest import Ingest
from sitegen.web.limits import RateLimit
from sitegen.web.metrics import Metrics
from sitegen.web.patience import patient
from sitegen.web.refusals import Refusals
from sitegen.web.tunasync_control import TunasyncControl
from sitegen.web.tunasync_reads import TunasyncReads
from sitegen.web.tunasync_writes import TunasyncWrites


def endpoints(
    store: Store, ingest: Ingest, settings: ManagerSettings, bells: Bells, access: Access, reports: Reports
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
    rows += TunasyncControl(store, access, control, commands, settings.tunasync.call).endpoints()
    rows += Metrics(access, current, store).endpoints()
    rows.append(openapi.endpoint_of(rows))
    return rows


def application(store: Store, ingest: Ingest, settings: ManagerSettings, bells: Bells, refusals: Refusals) -> Starlette:
    """The ASGI application, and beside it in its state the `fast_lane`, by which reports need not go through it."""
    access = Access(store, settings)
    reports = Reports(access, ingest, store)
    rows = [refusals.watched(row, access) for row in endpoints(store, ingest, settings, bells, access, reports)]
    application = Starlette(
        middleware=[Middleware(RateLimit, limits=settings.limits, is_known=access.is_known)],
        routes=[Route(row.path, patient(row.handler), methods=[row.method]) for row in rows],
        exception_handlers=answers.HANDLERS,
    )
    application.state.fast_lane = FastLane(reports, access, settings.body_limit)
    return application
