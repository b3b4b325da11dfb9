"""`/api/v1/commands`: operators give commands, workers fetch them and report their results."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from schemas.addresses import without_secrets
from sitegen.messages import commands
from sitegen.messages.commands import OPEN, SENT, CommandRequest, WorkerCommand
from sitegen.messages.envelope import RejectedRequest
from sitegen.messages.model import AuditEntry
from sitegen.storage import command_store, wake_store
from sitegen.storage.store import Store
from sitegen.web import access, bodies, endpoint
from sitegen.web.access import Access
from sitegen.web.command_news import LOOK_EVERY, NewestNumbers, News
from sitegen.web.control import Control
from sitegen.web.db_timeout import in_thread
from sitegen.web.endpoint import Endpoint, Parameter
from sitegen.web.responses import Json
from sitegen.web.waiters import Topics, notified

LONGEST = 60
"""Seconds for which a request may be held."""

NEWEST = 2**53
"""A number above that of every command."""

MOST_HELD = 16
"""Held requests of one worker; one more ends the oldest. A worker needs one, but abandoned ones are held a while
longer."""

_PATH = "/api/v1/commands"


class CommandsApi:
    """The routes for commands."""

    def __init__(
        self,
        store: Store,
        who: Access,
        control: Control,
        topics: Topics,
        *,
        expire: float,
        shared: bool,
        has_webhook: bool,
    ) -> None:
        self._store = store
        self._has_webhook = has_webhook
        self._expire = expire
        self._access = who
        self._control = control
        self._topics = topics
        self._numbers = NewestNumbers(store) if shared else None

    def endpoints(self) -> list[Endpoint]:
        """Return the rows of these routes."""
        wait = Parameter("wait", True, f"Seconds to wait for a command if there is none, at most {LONGEST}.")
        after = Parameter("after", True, "The highest command number that the worker has stored.")
        wake = Parameter("wake", True, "The last wake number that the worker got, 0 before the first.")
        worker = Parameter("worker", False, "The worker; must be the token's.", required=True)
        before = Parameter("before", True, "Only commands with a lower number.")
        limit = Parameter("limit", True, "Number of commands, at most 500; 50 by default.")
        own, operator, reader = endpoint.WORKER, endpoint.OPERATOR, endpoint.READER
        return [
            Endpoint(
                "GET", _PATH, self.fetch, "Wait for a worker's next commands.", "commands", own,
                parameters=(worker, after, wake, wait), refusals=(400,),
            ),
            Endpoint(
                "POST", _PATH, self.give, "Give a command; the answer comes once it is on disk.", "commands#states",
                operator, "commands#order", status=202, refusals=(400, 404, 409, 413, 422),
            ),
            Endpoint(
                "POST", f"{_PATH}/results", self.finish, "Report the results of a worker's commands.", "commands#taken",
                own, "commands#results", refusals=(400, 413, 422),
            ),
            Endpoint(
                "GET", f"{_PATH}/{{worker}}", self.page, "A worker's commands, newest first.", "commands#states",
                reader, parameters=(before, limit), refusals=(400,),
            ),
            Endpoint(
                "GET", f"{_PATH}/{{worker}}/{{number}}", self.find, "One command and its result.",
                "commands#state", reader, refusals=(404,),
            ),
        ]  # fmt: skip

    async def fetch(self, request: Request) -> Response:
        """Answer at once if there are commands, else when one comes or the time is up."""
        worker = await self._access.checked(self._access.worker, request)
        if access.name(request, "worker") not in (worker, ""):
            raise RejectedRequest(403, f"the token is for worker {worker}")
        after = access.number(request, "after", 0, NEWEST)
        # A worker of an earlier release knows of none, and is not woken.
        known = access.number(request, "wake", 0, NEWEST) if "wake" in request.query_params else None
        until = asyncio.get_running_loop().time() + access.number(request, "wait", 0, LONGEST)
        with self._topics.subscribed(worker, MOST_HELD) as subscription:
            news = await self._look(worker, after)
            while not (news.is_news(known) or subscription.is_over or self._topics.closed) and await self._notified(
                subscription, until, worker, news
            ):
                # the token may have been revoked while this was held
                await self._access.checked(self._access.worker, request)
                news = await self._look(worker, after)
        shown = [{key: getattr(command, key) for key in SENT} for command in news.fetched.commands]
        wake = {} if news.wake is None else {"wake": news.wake}
        return Json({"commands": shown, "newest": news.fetched.newest} | wake)

    async def _notified(self, subscription: asyncio.Event, until: float, worker: str, news: News) -> bool:
        """Wait for a notification, or for a command or webhook that another manager of the same database received."""
        if self._numbers is None:
            return await notified(subscription, until)
        loop = asyncio.get_running_loop()
        while not await notified(subscription, min(until, loop.time() + LOOK_EVERY)):
            if news.is_behind(*await in_thread(self._numbers.of, worker)):
                return True
            if loop.time() >= until:
                return False
        return True

    async def _look(self, worker: str, after: int) -> News:
        return await in_thread(self._news, worker, after)

    def _news(self, worker: str, after: int) -> News:
        now = time.time()
        fetched = command_store.fetch(self._store, worker, after, now, now - self._expire)
        return News(fetched, wake_store.read(self._store) if self._has_webhook else None)

    async def give(self, request: Request) -> Response:
        """Store a command for every worker that it concerns, then wake these workers' requests."""
        token = await self._access.checked(self._access.operator, request)
        order = commands.request_of(bodies.read(await self._access.body(request), "commands#order"))
        by = AuditEntry(time.time(), token.name, "", "", access.client(request), {})
        made = await self.issue(order, by)
        return Json(_states(made), status_code=202)

    async def issue(self, order: CommandRequest, by: AuditEntry) -> list[WorkerCommand]:
        """Store the commands of a request and wake the workers' requests."""
        wanted = await in_thread(self._control.targets, order)
        made = await in_thread(command_store.add, self._store, order, wanted, by)
        # After the commit, so that each request that wakes finds its command.
        self._topics.notify(*wanted)
        return made

    async def ended(self, command: WorkerCommand, patience: float) -> WorkerCommand:
        """Wait until a command has a result, `patience` seconds at most, and return it.

        Without a result by then the command expires, and its worker does not get it.
        """
        until = asyncio.get_running_loop().time() + patience
        with self._topics.subscribed(_results_of(command.worker)) as subscription:
            while (found := await self._found(command)).state in OPEN:
                # another manager of the same database may receive the result, and cannot wake this request
                moment = min(until, asyncio.get_running_loop().time() + LOOK_EVERY)
                is_over = not await notified(subscription, moment) and moment == until
                if is_over or self._topics.closed:
                    await in_thread(command_store.expire_one, self._store, command.worker, command.number, time.time())
                    return await self._found(command)
        return found

    async def _found(self, command: WorkerCommand) -> WorkerCommand:
        return await in_thread(command_store.find, self._store, command.worker, command.number) or command

    async def finish(self, request: Request) -> Response:
        """Store the results of commands."""
        worker = await self._access.checked(self._access.worker, request)
        plain = bodies.read(await self._access.body(request), "commands#results")
        if plain["worker"] != worker:
            raise RejectedRequest(403, f"the token is for worker {worker}")
        results = [
            (item["number"], item["outcome"], without_secrets(item.get("reason", ""))) for item in plain["results"]
        ]
        taken = await in_thread(command_store.finish, self._store, worker, results, time.time())
        self._topics.notify(_results_of(worker))
        return Json({"taken": taken})

    def page(self, request: Request) -> Response:
        """Return a page of a worker's commands, newest first."""
        self._access.reader(request)
        limit = max(1, access.number(request, "limit", 50, 500))
        before = access.number(request, "before", NEWEST, NEWEST)
        worker = self._expired(request)
        found = command_store.page(self._store, worker, before, limit)
        return Json(_states(found) | {"before": found[-1].number if len(found) == limit else None})

    def find(self, request: Request) -> Response:
        """Return one command."""
        self._access.reader(request)
        worker, number = self._expired(request), request.path_params["number"]
        # More digits than any command's number has could exceed the integers of the database.
        found = (
            command_store.find(self._store, worker, int(number)) if number.isdecimal() and len(number) < 17 else None
        )
        if found is None:
            raise RejectedRequest(404, f"worker {worker} has no command {number}")
        return Json(found._asdict())

    def _expired(self, request: Request) -> str:
        """Expire the overdue commands of the worker in the path; returns its name."""
        worker, now = str(request.path_params["worker"]), time.time()
        # The background cleanup runs once an hour, and no answer may show an overdue command as open.
        command_store.expire(self._store, now - self._expire, now, worker)
        return worker


def _results_of(worker: str) -> str:
    """Return the topic of a worker's results. Names have no space, so this is not a topic for commands."""
    return f"results {worker}"


def _states(found: Sequence[WorkerCommand]) -> dict[str, Any]:
    return {"commands": [command._asdict() for command in found]}
