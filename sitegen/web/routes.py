"""The manager's application: every route, and the handlers of errors."""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

from schemas.records import ManagerSettings
from schemas.secrets import read_secret
from sitegen.storage.store import Store
from sitegen.web import endpoint, openapi, responses, tunasync_reads
from sitegen.web.access import Access
from sitegen.web.addresses import networks
from sitegen.web.api_commands import CommandsApi
from sitegen.web.api_policies import PoliciesApi
from sitegen.web.api_reads import ReadsApi
from sitegen.web.api_reports import ReportsApi
from sitegen.web.api_webhook import WebhookApi
from sitegen.web.control import Control
from sitegen.web.db_timeout import patient
from sitegen.web.denied_audit import DeniedAttempts
from sitegen.web.endpoint import Endpoint
from sitegen.web.front import Front
from sitegen.web.gate import Gate
from sitegen.web.ingest import Ingest
from sitegen.web.limits import RateLimit
from sitegen.web.metrics import Metrics
from sitegen.web.snapshot_cache import SnapshotCache
from sitegen.web.tunasync_control import TunasyncControl
from sitegen.web.tunasync_reads import TunasyncReads
from sitegen.web.tunasync_writes import TunasyncWrites
from sitegen.web.waiters import Topics


def endpoints(
    store: Store,
    ingest: Ingest,
    settings: ManagerSettings,
    topics: Topics,
    access: Access,
    reports: ReportsApi,
    gate: Gate,
) -> list[Endpoint]:
    """Return every row of the API."""
    current = SnapshotCache(store)
    control = Control(current)
    shared, expire, webhook = settings.database is not None, settings.commands_expire, settings.webhook
    commands = CommandsApi(
        store, access, control, topics, expire=expire, shared=shared, has_webhook=webhook is not None
    )
    rows = [
        *reports.endpoints(),
        *commands.endpoints(),
        *ReadsApi(store, access, current, topics).endpoints(),
        *PoliciesApi(store, access, ingest, reports.digests, current).endpoints(),
        Endpoint("GET", "/ping", tunasync_reads.ping, "Check that the manager answers.", "api#pong", endpoint.ANYONE),
    ]
    if webhook is not None:
        rows += WebhookApi(store, access, read_secret(webhook.secret), topics.notify_all).endpoints()
    if settings.tunasync.reads:
        rows += TunasyncReads(store, access, current).endpoints()
    rows += TunasyncWrites(store, access, ingest).endpoints()
    rows += TunasyncControl(store, access, control, commands, settings.tunasync).endpoints()
    rows += Metrics(access, current, store, gate).endpoints()
    rows.append(openapi.endpoint_of(rows))
    return rows


def application(
    store: Store, ingest: Ingest, settings: ManagerSettings, topics: Topics, denied: DeniedAttempts, gate: Gate
) -> Front:
    """Return the ASGI application."""
    access = Access(store, settings)
    reports = ReportsApi(access, ingest, store)
    rows = endpoints(store, ingest, settings, topics, access, reports, gate)
    watched = [denied.watched(row, access) for row in rows]
    application = Starlette(
        middleware=[Middleware(RateLimit, limits=settings.limits, who=access)],
        routes=[Route(row.path, patient(row.handler), methods=[row.method]) for row in watched],
        exception_handlers=responses.HANDLERS,
    )
    application.router.redirect_slashes = False  # that would copy the request's `Host`; `responses` does without it
    proxies = [str(each) for each in networks(settings.trusted_proxies)]
    return Front(application, reports, access, proxies, TunasyncWrites(store, access, ingest))
