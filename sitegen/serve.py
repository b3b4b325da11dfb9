"""`skipjack-manager serve`: the process that receives reports, stores them and answers API requests."""

import asyncio
import contextlib
import errno
import gc
import logging
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from schemas import wakeup
from schemas.errors import SkipjackError
from schemas.failures import remedy
from schemas.records import ManagerSettings
from sitegen import boundary, listening, locks, supervised
from sitegen.process import PublisherProcess
from sitegen.retention import Retention
from sitegen.storage.store import Store
from sitegen.web import routes
from sitegen.web.acceptor import Acceptor
from sitegen.web.addresses import networks
from sitegen.web.api_reads import CHANGED
from sitegen.web.certificate import Certificate
from sitegen.web.connection import Connection, connection_class
from sitegen.web.db_timeout import PATIENCE
from sitegen.web.denied_audit import DeniedAttempts
from sitegen.web.front import Front
from sitegen.web.gate import Gate
from sitegen.web.ingest import Ingest
from sitegen.web.server_check import check_server
from sitegen.web.waiters import Topics

_GRACE = int(PATIENCE) + 2
"""Seconds that running requests may take after a signal to end: by then even those that wait for the database are
answered."""

_LAST_REQUESTS = 0.2
"""Seconds between the last accepted connection and the end of idle ones, since its request is on its way. Later
connections wait in the socket for the next process, if a service manager holds it."""

_FIRST_REQUESTS = 5.0
"""Seconds in which accepted connections may then finish their handshake and send a first request: no other process can
answer it."""

_TICKS = 10
"""The server's ticks, of a tenth of a second each, between two checks of deadlines and the certificate."""

_OWN_FILES = 100
"""An upper bound for open files and sockets beside the clients' connections."""

_LEAST_FILES = 64
"""Open files below which serve does not start: its event loop aborts the process when it cannot open its own ones."""

_log = logging.getLogger(__name__)


def serve(settings: ManagerSettings, publisher_settings: Path | None) -> None:
    """Serve until a signal arrives; with `publisher_settings`, a settings file, also run the publisher as a child."""
    _allow_files(settings.limits.connections + _OWN_FILES)
    with prepared(settings, publisher_settings) as (server, listener):
        gc.collect()
        gc.freeze()  # imported modules stay: searching them for garbage costs a tenth of the time
        gc.set_threshold(10_000)  # requests leave few reference cycles
        _log.info("listening on %s", listening.place_of(listener))
        server.run(sockets=[listener])


@contextlib.contextmanager
def prepared(
    settings: ManagerSettings, publisher_settings: Path | None = None
) -> Iterator[tuple[uvicorn.Server, socket.socket]]:
    """Yield a server that is ready to run and the socket for it, with everything started but the event loop."""
    # First: a server without working limits must not open a socket.
    with boundary.deferred_signals():
        check_server()
    with contextlib.ExitStack() as stack:
        certificate = Certificate(settings.tls) if settings.tls else None
        listed = networks(settings.trusted_proxies)
        writers = networks(settings.tunasync.writes_from)
        gate = Gate(settings.limits, (*listed, *writers))
        listener = stack.enter_context(listening.listen(settings.listen))
        # Before the store, so that a second serve touches nothing of the first one.
        stack.enter_context(locks.serving(settings))
        store = stack.enter_context(Store(settings.state_dir, settings.database, settings.site_dir))
        if publisher_settings is not None:
            # After the store, so that the child finds its tables created and migrated.
            PublisherProcess(publisher_settings).enter_in(stack)
        topics = Topics()

        def announce() -> None:
            wakeup.send(settings.run_dir, wakeup.PUBLISHER)
            topics.notify_from_thread(CHANGED)

        Retention(store, settings).enter_in(stack)
        ingest = Ingest(store, announce).enter_in(stack)
        # Runs first at the end, before the threads are joined: one that waits for a hanging database would never end.
        stack.callback(store.database.break_off)
        denied = DeniedAttempts(store).enter_in(stack)
        config = _config(settings, gate, routes.application(store, ingest, settings, topics, denied, gate))
        yield _ManagerServer(config, topics, gate, certificate), listener


def _config(settings: ManagerSettings, gate: Gate, application: Front) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        http=connection_class(gate),
        ws="none",  # the API has no websockets, and their connections would have no limits
        interface="asgi3",
        loop="uvloop",
        lifespan="off",
        log_config=None,  # else uvicorn replaces the handlers of `output.start_logging`
        access_log=False,
        proxy_headers=False,  # `Front` does that, and knows mapped addresses and networks
        ssl_certfile=settings.tls.certificate if settings.tls else None,
        ssl_keyfile=settings.tls.key if settings.tls else None,
        server_header=False,
        timeout_graceful_shutdown=_GRACE,
    )


class _ManagerServer(uvicorn.Server):
    """Checks deadlines and renews the certificate while it runs, and answers held requests first when it ends.

    It accepts connections by itself, since uvicorn would let new clients wait while others keep it busy.
    """

    def __init__(self, config: uvicorn.Config, topics: Topics, gate: Gate, certificate: Certificate | None) -> None:
        super().__init__(config)
        self._topics = topics
        self._gate = gate
        self._kind = connection_class(gate)
        self._certificate = certificate
        self._acceptor: Acceptor | None = None

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        with boundary.deferred_signals():
            super().run(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        with super().capture_signals(), boundary.delivered_signals():
            yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        [listener] = sockets or []
        listener.setblocking(False)
        listener.listen(self.config.backlog)
        await super().startup([])
        self._acceptor = Acceptor(listener, self._gate, self.config.ssl, self._connect)
        self._acceptor.start()
        supervised.ready()

    def _connect(self) -> Connection:
        return self._kind(config=self.config, server_state=self.server_state, app_state={})

    async def on_tick(self, counter: int) -> bool:
        if counter % _TICKS == 0:
            self._gate.check_deadlines(asyncio.get_running_loop().time())
        if counter % _TICKS == 0 and self._certificate is not None and self.config.ssl is not None:
            self._certificate.renew(self.config.ssl)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # First: held requests are answered now, and the end does not wait for them.
        self._topics.close()
        self._gate.is_ending = True
        if self._acceptor:
            self._acceptor.stop()
        for server in self.servers:
            server.close()  # new connections wait in the socket for the next process
        await self._take_last_requests()
        if self._acceptor:
            self._acceptor.end()
        await super().shutdown(sockets)

    async def _take_last_requests(self) -> None:
        """Wait for the requests of accepted connections; each answer says that the connection closes."""
        for connection in self._connections():
            if connection.is_at_work():
                connection.shutdown()
        began = asyncio.get_running_loop().time()
        await asyncio.sleep(_LAST_REQUESTS)
        while self._is_expecting() and asyncio.get_running_loop().time() < began + _FIRST_REQUESTS:
            await asyncio.sleep(_LAST_REQUESTS / 4)

    def _is_expecting(self) -> bool:
        """Return whether an accepted connection has not sent its request yet."""
        is_shaking_hands = self._acceptor is not None and self._acceptor.is_shaking_hands
        return is_shaking_hands or any(connection.is_expecting() for connection in self._connections())

    def _connections(self) -> list[Connection]:
        return [each for each in self.server_state.connections if isinstance(each, Connection)]


def _allow_files(wanted: int) -> None:
    """Raise the limit of open files to what all connections need: the soft limit is often 1024, the hard one higher.

    Raises SkipjackError if it stays too low even for serve itself.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            # Only root may raise the hard limit.
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if allowed < _LEAST_FILES:
        what = f"serve needs at least {_LEAST_FILES} open files, and the limit is {allowed}."
        raise SkipjackError(what, remedy(errno.EMFILE))
    if allowed < wanted:
        _log.warning(
            "`limits.connections` needs %d open files, and the limit is %d: lower it, or raise LimitNOFILE",
            wanted,
            allowed,
        )
