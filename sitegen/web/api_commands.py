"""`/api/v1/commands`: operators give commands, workers fetch them and say what became of them."""

import asyncio
import threading
import time
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from schemas.addresses import without_secrets
from sitegen.messages import commands
from sitegen.messages.commands import OPEN, SENT, CommandRequest, Fetched, WorkerCommand
from sitegen.messages.envelope import RejectedRequest
from sitegen.messages.model import AuditEntry
from sitegen.storage import command_store
from sitegen.storage.store import Store
from sitegen.web import access, bodies, endpoint
from sitegen.web.access import Access
from sitegen.web.control import Control
from sitegen.web.db_timeout import in_thread
from sitegen.web.endpoint import Endpoint, Parameter
from sitegen.web.responses import Json
from sitegen.web.waiters import Bells, heard

LONGEST = 60
"""Seconds for which a request may be held."""

NEWEST = 2**53
"""Above every number of a command."""

LOOK_EVERY = 1.0
"""Seconds after which commands are noticed that another manager took, where several share a database."""

MOST_HELD = 16
"""Requests of one worker that are held; the oldest is answered when another comes. A worker needs one, but those that
it gave up are held a while longer."""

_PATH = "/api/v1/commands"


class Numbers:
    """The newest number of each worker, looked up every LOOK_EVERY seconds at most for all that wait."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._found: tuple[float, dict[str, int]] = -LOOK_EVERY, {}

    def of(self, worker: str) -> int:
        """That of one worker, 0 when it was never given any."""
        with self._lock:
            now = time.monotonic()
            if now - self._found[0] >= LOOK_EVERY:
                self._found = now, command_store.newest(self._store)
            return self._found[1].get(worker, 0)


class Commands:
    """The commands' part of the API."""

    def __init__(
        self, store: Store, who: Access, control: Control, bells: Bells, *, expire: float, shared: bool
    ) -> None:
        self._store = store
        self._expire = expire
        self._access = who
        self._control = control
        self._bells = bells
        self._numbers = Numbers(store) if shared else None

    def endpoints(self) -> list[Endpoint]:
        """The rows of this part of the API."""
        wait = Parameter("wait", True, f"Seconds to wait for a command when there is none, {LONGEST} at most.")
        after = Parameter("after", True, "The highest number that the worker has for good.")
        worker = Parameter("worker", False, "The worker; must be the one that the token was made for.", required=True)
        before = Parameter("before", True, "Only commands below this number.")
        limit = Parameter("limit", True, "How many, 500 at most; 50 without it.")
        own, operator, reader = endpoint.WORKER, endpoint.OPERATOR, endpoint.READER
        return [
            Endpoint(
                "GET", _PATH, self.fetch, "Wait for a worker's next commands.", "commands", own,
                parameters=(worker, after, wait), refusals=(400,),
            ),
            Endpoint(
                "POST", _PATH, self.give, "Give a command; it is on disk when this is answered.", "commands#states",
                operator, "commands#order", status=202, refusals=(400, 404, 409, 413, 422),
            ),
            Endpoint(
                "POST", f"{_PATH}/results", self.finish, "Say what became of a worker's commands.", "commands#taken",
                own, "commands#results", refusals=(400, 413, 422),
            ),
            Endpoint(
                "GET", f"{_PATH}/{{worker}}", self.page, "A worker's commands, newest first.", "commands#states",
                reader, parameters=(before, limit), refusals=(400,),
            ),
            Endpoint(
                "GET", f"{_PATH}/{{worker}}/{{number}}", self.find, "One command, and what became of it.",
                "commands#state", reader, refusals=(404,),
            ),
        ]  # fmt: skip

    async def fetch(self, request: Request) -> Response:
        """Answer at once if there are commands, else when one comes or the time is over."""
        worker = await self._access.asked(self._access.worker, request)
        if access.name(request, "worker") not in (worker, ""):
            raise RejectedRequest(403, f"the token is for worker {worker}")
        after = access.number(request, "after", 0, NEWEST)
        until = asyncio.get_running_loop().time() + access.number(request, "wait", 0, LONGEST)
        with self._bells.listening(worker, MOST_HELD) as bell:
            found = await self._look(worker, after)
            while not (found.commands or bell.is_over or self._bells.closed) and await self._rang(
                bell, until, worker, found.newest
            ):
                await self._access.asked(
                    self._access.worker, request
                )  # the token may have been revoked while this was held
                found = await self._look(worker, after)
        told = [{key: getattr(command, key) for key in SENT} for command in found.commands]
        return Json({"commands": told, "newest": found.newest})

    async def _rang(self, bell: asyncio.Event, until: float, worker: str, newest: int) -> bool:
        """Wait for the bell, or for a number that another manager gave."""
        if self._numbers is None:
            return await heard(bell, until)
        loop = asyncio.get_running_loop()
        while not await heard(bell, min(until, loop.time() + LOOK_EVERY)):
            if await in_thread(self._numbers.of, worker) > newest:
                return True
            if loop.time() >= until:
                return False
        return True

    async def _look(self, worker: str, after: int) -> Fetched:
        now = time.time()
        return await in_thread(command_store.fetch, self._store, worker, after, now, now - self._expire)

    async def give(self, request: Request) -> Response:
        """Number and keep a command for every worker that it concerns, then wake these."""
        token = await self._access.asked(self._access.operator, request)
        order = commands.request_of(bodies.read(await self._access.body(request), "commands#order"))
        by = AuditEntry(time.time(), token.name, "", "", access.client(request), {})
        made = await self.issue(order, by)
        return Json(_states(made), status_code=202)

    async def issue(self, order: CommandRequest, by: AuditEntry) -> list[WorkerCommand]:
        """Keep what is ordered and wake the workers."""
        wanted = await in_thread(self._control.targets, order)
        made = await in_thread(command_store.add, self._store, order, wanted, by)
        self._bells.ring(*wanted)
        return made

    async def ended(self, command: WorkerCommand, patience: float) -> WorkerCommand:
        """Wait until its worker says what became of a command, `patience` seconds at most.

        One that is still open then has expired, and the worker does not get it any more.
        """
        until = asyncio.get_running_loop().time() + patience
        with self._bells.listening(_results_of(command.worker)) as bell:
            while (found := await self._found(command)).state in OPEN:
                # where managers share a database another one may be told
                moment = min(until, asyncio.get_running_loop().time() + LOOK_EVERY)
                is_over = not await heard(bell, moment) and moment == until
                if is_over or self._bells.closed:
                    await in_thread(command_store.expire_one, self._store, command.worker, command.number, time.time())
                    return await self._found(command)
        return found

    async def _found(self, command: WorkerCommand) -> WorkerCommand:
        return await in_thread(command_store.find, self._store, command.worker, command.number) or command

    async def finish(self, request: Request) -> Response:
        """Keep what became of commands."""
        worker = await self._access.asked(self._access.worker, request)
        plain = bodies.read(await self._access.body(request), "commands#results")
        if plain["worker"] != worker:
            raise RejectedRequest(403, f"the token is for worker {worker}")
        results = [
            (item["number"], item["outcome"], without_secrets(item.get("reason", ""))) for item in plain["results"]
        ]
        taken = await in_thread(command_store.finish, self._store, worker, results, time.time())
        self._bells.ring(_results_of(worker))
        return Json({"taken": taken})

    def page(self, request: Request) -> Response:
        """A worker's commands, newest first."""
        self._access.reader(request)
        limit = max(1, access.number(request, "limit", 50, 500))
        before = access.number(request, "before", NEWEST, NEWEST)
        worker = self._settled(request)
        found = command_store.page(self._store, worker, before, limit)
        return Json(_states(found) | {"before": found[-1].number if len(found) == limit else None})

    def find(self, request: Request) -> Response:
        """One command."""
        self._access.reader(request)
        worker, number = self._settled(request), request.path_params["number"]
        found = (
            command_store.find(self._store, worker, int(number)) if number.isdecimal() and len(number) < 17 else None
        )
        if found is None:
            raise RejectedRequest(404, f"worker {worker} was given no command {number}")
        return Json(found._asdict())

    def _settled(self, request: Request) -> str:
        """The worker that a path names, none of whose commands is open any more that should have expired."""
        worker, now = str(request.path_params["worker"]), time.time()
        command_store.expire(self._store, now - self._expire, now, worker)
        return worker


def _results_of(worker: str) -> str:
    """The topic of a worker's results; no worker's name has a space, so it is none of those for commands."""
    return f"results {worker}"


def _states(found: Sequence[WorkerCommand]) -> dict[str, Any]:
    return {"commands": [command._asdict() for command in found]}
