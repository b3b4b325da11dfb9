"""`skipjack-manager serve`: the process that takes reports, keeps them and answers."""

import asyncio
import contextlib
import gc
import logging
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from schemas.records import ManagerSettings
from sitegen import listening, locks, supervised
from sitegen.process import Publisher
from sitegen.retention import Forgetting
from sitegen.storage.store import Store
from sitegen.wakeup import poke
from sitegen.web import routes
from sitegen.web.acceptor import Acceptor
from sitegen.web.addresses import networks
from sitegen.web.api_reads import CHANGED
from sitegen.web.certificate import Certificate
from sitegen.web.connection import Connection, guarded
from sitegen.web.db_timeout import PATIENCE
from sitegen.web.denied_audit import Refusals
from sitegen.web.front import Front
from sitegen.web.gate import Gate
from sitegen.web.ingest import Ingest
from sitegen.web.server_check import check_server
from sitegen.web.waiters import Bells

_GRACE = int(PATIENCE) + 2
"""Seconds that requests which are under way may take once we were told to end: even those that get no answer from
the database are answered by then."""

_LAST_REQUESTS = 0.2
"""Seconds between the last connection that is accepted and the end of idle ones: its request is on its way. Those that
come later wait in the socket, if a service manager holds that, for the next process."""

_FIRST_REQUESTS = 5.0
"""Seconds in which accepted connections may shake hands and send a first request then: no other process gets it."""

_TICKS = 10
"""Ticks of the server, of which each takes a tenth of a second, between two looks at deadlines and the certificate."""

_log = logging.getLogger(__name__)


_OWN_FILES = 100
"""Files and sockets that are open beside the clients' connections, generously."""


def serve(settings: ManagerSettings, publisher_settings: Path | None) -> None:
    """Serve until a signal ends it; with a settings file also run the publisher as a child."""
    _allow_files(settings.limits.connections + _OWN_FILES)
    with prepared(settings, publisher_settings) as (server, listener):
        gc.collect()
        gc.freeze()  # what was imported stays; looking through it again and again costs a tenth of the time
        gc.set_threshold(10_000)  # and the little that a request leaves is no circle
        _log.info("listening on %s", listening.place_of(listener))
        server.run(sockets=[listener])


@contextlib.contextmanager
def prepared(
    settings: ManagerSettings, publisher_settings: Path | None = None
) -> Iterator[tuple[uvicorn.Server, socket.socket]]:
    """Everything but the loop: a server that is ready to run, and the socket that it will listen on."""
    check_server()
    with contextlib.ExitStack() as stack:
        certificate = Certificate(settings.tls) if settings.tls else None
        listed = networks(settings.trusted_proxies, "trusted_proxies")
        writers = networks(settings.tunasync.writes_from, "tunasync.writes_from")
        gate = Gate(settings.limits, (*listed, *writers))
        listener = stack.enter_context(listening.listen(settings.listen))
        stack.enter_context(locks.serving(settings))
        store = stack.enter_context(Store(settings.state_dir, settings.database, settings.site_dir))
        if publisher_settings is not None:
            stack.enter_context(Publisher(publisher_settings))
        bells = Bells()

        def announce() -> None:
            poke(settings.run_dir)
            bells.ring_from_thread(CHANGED)

        stack.enter_context(Forgetting(store, settings))
        ingest = stack.enter_context(Ingest(store, announce))
        stack.callback(store.database.break_off)  # the first thing at the end: nobody waits for an answer any more
        refusals = stack.enter_context(Refusals(store))
        config = _config(settings, gate, routes.application(store, ingest, settings, bells, refusals, gate))
        yield _Server(config, bells, gate, certificate), listener


def _config(settings: ManagerSettings, gate: Gate, application: Front) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        http=guarded(gate),
        ws="none",
        interface="asgi3",
        loop="uvloop",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # that is for `Front`, which knows mapped addresses and networks
        ssl_certfile=settings.tls.certificate if settings.tls else None,
        ssl_keyfile=settings.tls.key if settings.tls else None,
        server_header=False,
        timeout_graceful_shutdown=_GRACE,
    )


class _Server(uvicorn.Server):
    """Lets held requests go first when it is told to end, and looks after deadlines and the certificate until then.

    With TLS it accepts by itself, since uvicorn would not count connections without a handshake.
    """

    def __init__(self, config: uvicorn.Config, bells: Bells, gate: Gate, certificate: Certificate | None) -> None:
        super().__init__(config)
        self._bells = bells
        self._gate = gate
        self._certificate = certificate
        self._acceptor: Acceptor | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self.config.ssl is None or not sockets:
            await super().startup(sockets)
            supervised.ready()
            return
        [listener] = sockets
        listener.setblocking(False)
        listener.listen(self.config.backlog)
        await super().startup([])
        self._acceptor = Acceptor(listener, self._gate, self.config.ssl, self._connect)
        self._acceptor.start()
        supervised.ready()

    def _connect(self) -> Connection:
        kind = guarded(self._gate)
        return kind(config=self.config, server_state=self.server_state, app_state={})

    async def on_tick(self, counter: int) -> bool:
        if counter % _TICKS == 0:
            self._gate.check_deadlines(asyncio.get_running_loop().time())
        if counter % _TICKS == 0 and self._certificate is not None and self.config.ssl is not None:
            self._certificate.renew(self.config.ssl)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._bells.close()
        self._gate.is_ending = True
        if self._acceptor:
            self._acceptor.stop()
        for server in self.servers:
            server.close()
        await self._take_last_requests()
        if self._acceptor:
            self._acceptor.end()
        await super().shutdown(sockets)

    async def _take_last_requests(self) -> None:
        """Let what was accepted bring its request; the answers say that nothing more is read."""
        for connection in self._connections():
            if connection.is_at_work():
                connection.shutdown()
        began = asyncio.get_running_loop().time()
        await asyncio.sleep(_LAST_REQUESTS)
        while self._is_expecting() and asyncio.get_running_loop().time() < began + _FIRST_REQUESTS:
            await asyncio.sleep(_LAST_REQUESTS / 4)

    def _is_expecting(self) -> bool:
        """Whether a connection that was accepted has brought no request yet."""
        is_shaking_hands = self._acceptor is not None and self._acceptor.is_shaking_hands
        return is_shaking_hands or any(connection.is_expecting() for connection in self._connections())

    def _connections(self) -> list[Connection]:
        return [each for each in self.server_state.connections if isinstance(each, Connection)]


def _allow_files(wanted: int) -> None:
    """Let us open as many files as all connections need: many systems begin with 1024 and let us have more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if allowed < wanted:
        _log.warning(
            "only %d files may be open here, and `limits.connections` needs %d: lower that, or raise LimitNOFILE",
            allowed,
            wanted,
        )
