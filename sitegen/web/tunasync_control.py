"""Tunasync's `POST /cmd`: a command for a Skipjack worker, or a call to the URL of a worker of tunasync."""

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
from sitegen.web.api_commands import CommandsApi
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
"""The status of a Go worker's job after such a command."""

ANSWERED_WITHIN = 4.0
"""Seconds that a Skipjack worker may take to answer a ping: `tunasynctl` waits for 5."""

_RELOADED = 200, 404
"""A Go worker that reloads then looks for a mirror with an empty name, and answers 404."""


class TunasyncControl:
    """The route for tunasync's commands."""

    def __init__(self, store: Store, who: Access, control: Control, own: CommandsApi, settings: TunasyncAccess) -> None:
        self._store = store
        self._access = who
        self._control = control
        self._commands = own
        self._urls = frozenset(url.rstrip("/") for url in settings.call)
        self._ca_cert = settings.ca_cert
        _check_authority(settings.ca_cert)

    def endpoints(self) -> list[Endpoint]:
        """Return the row of this route."""
        return [
            Endpoint(
                "POST", "/cmd", self.command, "Give a command to one worker.", "api#pong", endpoint.LISTED,
                "api#tunasync_command", refusals=(400, 404, 409, 413, 502, 504), also=(202,),
            )
        ]  # fmt: skip

    async def command(self, request: Request) -> Response:
        """Give a command to the worker in the body."""
        self._access.may_write_tunasync(request)
        found = tunasync_rules.message(await self._access.body(request))
        worker, verb = found.name("worker_id", "worker_id is missing"), found.text("cmd", 100)
        if verb not in VERBS:
            known = ", ".join(sorted(VERBS))
            raise RejectedRequest(400, f"{verb[:100]!r} is not a command of tunasync; its commands are {known}")
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
            # in tunasync a start also enables a disabled mirror
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
            why = f"it did not answer within {ANSWERED_WITHIN:g} s. Check that its courier is running"
            raise RejectedRequest(504, f"post command to worker {worker} fail: {why}")
        if ended.state != DONE:
            raise RejectedRequest(502, f"post command to worker {worker} fail: {ended.reason}")

    def _foreign(self, found: Message, worker: str, who: AuditEntry) -> str:
        """Send a command to a Go worker; returns why it is not confirmed, empty if it is."""
        known = tunasync_store.workers(self._store).get(worker)
        if known is None:
            raise RejectedRequest(400, f"worker {worker} is not registered yet")
        url = known["url"]
        shown = without_secrets(url)
        if url.rstrip("/") not in self._urls:
            raise RejectedRequest(403, f"cannot call worker {worker}: its URL {shown} is not in `tunasync.call`")
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
        """Set a job's status before its worker is called; returns the job as it was, or None.

        A worker answers only after its hooks. It reports meanwhile, and those reports are newer than this status.
        """
        status = _MARKED.get(verb)
        if not status:
            return None
        return tunasync_store.replace(
            self._store, worker, mirror, None, lambda job: tunasync_marks.marked(job, status, who.at, who.who)
        )

    def _correct(self, worker: str, mirror: str, verb: str, change: Callable[[TunasyncJob], TunasyncJob]) -> None:
        """Change a job that still has the status of `_mark`."""
        tunasync_store.replace(self._store, worker, mirror, _MARKED[verb], change)


def _check_authority(ca_cert: str | None) -> None:
    """Log at the start if `tunasync.ca_cert` cannot be used, instead of with the first command."""
    try:
        caller.require_authority(ca_cert)
    except caller.NotReached as error:
        _log.error("%s. Until this is fixed, workers of tunasync with HTTPS get no commands", error)
