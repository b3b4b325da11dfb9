"""Tunasync's `POST /cmd`: for our own workers a command like any other, for those of tunasync a call to their URL."""

import logging
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from schemas.addresses import without_secrets
from schemas.records import TunasyncAccess
from schemas.states import DISABLED, PAUSED
from sitegen.messages import commands, tunasync_marks, tunasync_rules
from sitegen.messages.commands import DONE, EXPIRED, CommandRequest
from sitegen.messages.envelope import RejectedRequest
from sitegen.messages.model import AuditEntry
from sitegen.messages.tunasync_rules import Message, TunasyncJob
from sitegen.storage import audit_store, tunasync_store
from sitegen.storage.store import Store
from sitegen.web import caller, endpoint
from sitegen.web.access import Access
from sitegen.web.api_commands import Commands
from sitegen.web.control import Control
from sitegen.web.db_timeout import in_thread
from sitegen.web.endpoint import Endpoint
from sitegen.web.responses import for_all
from sitegen.web.tunasync_writes import by

_log = logging.getLogger(__name__)

VERBS = frozenset({
    commands.START, commands.STOP, commands.DISABLE, commands.RESTART, commands.RELOAD, commands.PING,
})  # fmt: skip
_MARKED = {commands.DISABLE: DISABLED, commands.STOP: PAUSED}
"""What a Go worker's job counts as once it was told so."""

ANSWERED_WITHIN = 4.0
"""Seconds for which a worker of ours may take to answer a ping; `tunasynctl` itself waits for 5."""

_RELOADED = 200, 404
"""A Go worker that reloads goes on to look for the mirror without a name, and answers that there is none."""


class TunasyncControl:
    """The one route that controls."""

    def __init__(self, store: Store, who: Access, control: Control, own: Commands, settings: TunasyncAccess) -> None:
        self._store = store
        self._access = who
        self._control = control
        self._commands = own
        self._urls = frozenset(url.rstrip("/") for url in settings.call)
        self._ca_cert = settings.ca_cert
        _tell_of_authority(settings.ca_cert)

    def endpoints(self) -> list[Endpoint]:
        """The row of this part of the API."""
        return [
            Endpoint(
                "POST", "/cmd", self.command, "Give a command to one worker.", "api#pong", endpoint.LISTED,
                "api#tunasync_command", refusals=(400, 404, 409, 413, 502, 504), also=(202,),
            )
        ]  # fmt: skip

    async def command(self, request: Request) -> Response:
        """Give a command to the worker that it names."""
        self._access.may_write_tunasync(request)
        found = tunasync_rules.message(await self._access.body(request))
        worker, verb = found.name("worker_id", "worker_id is missing"), found.text("cmd", 100)
        if verb not in VERBS:
            raise RejectedRequest(
                400, f"{verb[:100]!r} is no command of tunasync; there are {', '.join(sorted(VERBS))}"
            )
        tunasync_rules.check_command(found)
        if await in_thread(self._control.is_known, worker):
            await self._own(found, worker, by(request))
        else:
            unconfirmed = await in_thread(self._foreign, found, worker, by(request))
            if unconfirmed:  # `tunasynctl` shows the body of every answer but 200
                return for_all({"message": unconfirmed}, status=202)
        return for_all({"message": f"successfully send command to worker {worker}"})

    async def _own(self, found: Message, worker: str, who: AuditEntry) -> None:
        verb, mirror = found.text("cmd"), found.text("mirror_id", 100)
        if verb == commands.PING:
            await self._ping(worker, mirror, who)
            return
        force = verb == commands.START and tunasync_rules.part(found, "options").flag("force", False)
        mirrors = [mirror] if mirror else []
        order = commands.request_of({"kind": verb, "mirrors": mirrors, "force": force, "worker": worker})
        if verb == commands.START and await in_thread(self._control.is_disabled, worker, mirror):
            # a start of tunasync lifts that as well
            await self._commands.issue(CommandRequest(commands.ENABLE, (mirror,), False, worker), who)
        await self._commands.issue(order, who)

    async def _ping(self, worker: str, mirror: str, who: AuditEntry) -> None:
        """Wait until a Skipjack worker has answered, else RejectedRequest. `tunasynctl` always names a mirror."""
        carried = await in_thread(self._control.carried)
        if mirror and mirror not in carried[worker]:
            raise RejectedRequest(404, f"worker {worker} has no mirror {mirror}")
        (made,) = await self._commands.issue(CommandRequest(commands.PING, (), False, worker), who)
        ended = await self._commands.ended(made, ANSWERED_WITHIN)
        if ended.state == EXPIRED:
            why = f"it did not answer within {ANSWERED_WITHIN:g} s. Check that its courier runs"
            raise RejectedRequest(504, f"post command to worker {worker} fail: {why}")
        if ended.state != DONE:
            raise RejectedRequest(502, f"post command to worker {worker} fail: {ended.reason}")

    def _foreign(self, found: Message, worker: str, who: AuditEntry) -> str:
        """Pass a command on to a Go worker; returns why it is not confirmed, empty when it is."""
        known = tunasync_store.workers(self._store).get(worker)
        if known is None:
            raise RejectedRequest(400, f"worker {worker} is not registered yet")
        url = known["url"]
        shown = without_secrets(url)
        if url.rstrip("/") not in self._urls:
            raise RejectedRequest(
                403, f"the URL {shown} of worker {worker} is not in `tunasync.call`, so it is not called"
            )
        plain = {key: found.plain.get(key) for key in ("cmd", "mirror_id", "args", "options")}
        details = {"mirrors": [found.text("mirror_id", 100)], "url": shown}
        with self._store.transaction(writing=True) as tx:
            audit_store.write(tx, who._replace(action=f"command {plain['cmd']}", subject=worker, details=details))
        verb, mirror = found.text("cmd"), found.text("mirror_id", 100)
        before = self._mark(worker, mirror, verb, who)
        try:
            accepted = _RELOADED if verb == commands.RELOAD and not mirror else (200,)
            caller.post(url, plain, accepted, self._ca_cert)
        except caller.NotConfirmed as error:
            text = tunasync_marks.note(verb, worker, who.at, str(error))
            if before:
                self._correct(worker, mirror, verb, lambda job: tunasync_marks.unconfirmed(job, before, text))
            return text
        except caller.NotReached as error:
            if before:
                self._correct(worker, mirror, verb, lambda job: tunasync_marks.taken_back(job, before))
            raise RejectedRequest(502, f"post command to worker {worker}({shown}) fail: {error}") from error
        if before:
            self._correct(worker, mirror, verb, tunasync_marks.confirmed)
        return ""

    def _mark(self, worker: str, mirror: str, verb: str, who: AuditEntry) -> TunasyncJob | None:
        """Show a job as held before its worker is called; returns what it was.

        A worker answers after its hooks, and what it reports meanwhile is newer than the mark.
        """
        status = _MARKED.get(verb)
        if not status:
            return None
        return tunasync_store.replace(
            self._store, worker, mirror, None, lambda job: tunasync_marks.marked(job, status, who.at, who.who)
        )

    def _correct(self, worker: str, mirror: str, verb: str, change: Callable[[TunasyncJob], TunasyncJob]) -> None:
        """Change a job that still has our mark."""
        tunasync_store.replace(self._store, worker, mirror, _MARKED[verb], change)


def _tell_of_authority(ca_cert: str | None) -> None:
    """Log at start what would otherwise be found out with the first command."""
    try:
        caller.require_authority(ca_cert)
    except caller.NotReached as error:
        _log.error("%s; workers of tunasync with HTTPS get no commands until then", error)
