"""The manager's application: every route, and what is answered when something goes wrong."""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

from schemas.records import ManagerSettings
from sitegen import answers, endpoint, openapi, tunasync_reads
from sitegen.access import Access
from sitegen.api_commands import Commands
from sitegen.api_reads import Reads
from sitegen.api_reports import Reports
from sitegen.bells import Bells
from sitegen.control import Control
from sitegen.current import Current
from sitegen.endpoint import Endpoint
from sitegen.fast_lane import FastLane
from sitegen.ingest import Ingest
from sitegen.limits import RateLimit
from sitegen.metrics import Metrics
from sitegen.patience import patient
from sitegen.refusals import Refusals
from sitegen.store import Store
from sitegen.tunasync_control import TunasyncControl
from sitegen.tunasync_reads import TunasyncReads
from sitegen.tunasync_writes import TunasyncWrites


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
