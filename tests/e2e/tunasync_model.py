"""A model of tunasync's own manager: what it stores and answers, after exchanges that were recorded with a real one."""

import http.server
import json
import re
import time
from datetime import UTC, datetime
from typing import Any

from tests.e2e.background_server import BackgroundServer

ZERO = "0001-01-01T00:00:00Z"
STATUSES = {"none", "failed", "success", "syncing", "pre-syncing", "paused", "disabled"}
TIMES = ("last_update", "last_started", "last_ended", "next_schedule")


class Model(BackgroundServer):
    """Its routes for workers; `broken` makes it answer 500 to everything.

    `told` holds every status as it came, and `heard` every request: its method, path, type and body.
    """

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.workers: dict[str, dict[str, Any]] = {}
        self.jobs: dict[tuple[str, str], dict[str, Any]] = {}
        self.told: list[tuple[str, str]] = []
        self.heard: list[tuple[str, str, str | None, str | None]] = []
        self.broken = False

    def words(self, mirror: str) -> list[str]:
        """The statuses that came of a mirror, in order."""
        return [status for name, status in self.told if name == mirror]

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """What it answers; None is JSON's null."""
        body = {key.lower(): value for key, value in body.items()} if body else body
        if (method, path) == ("POST", "/workers"):
            now = _now()
            self.workers[body["id"]] = body | {"last_online": now, "last_register": now}
            return 200, self.workers[body["id"]]
        if (method, path) == ("GET", "/workers"):
            return 200, [worker | {"token": "REDACTED"} for worker in self.workers.values()] or None
        match = re.fullmatch("/workers/([^/]+)/(jobs|schedules)(?:/([^/]+)(/size)?)?", path)
        if match is None:
            return 404, {"error": "404 page not found"}
        worker, kind, mirror, size = match.groups()
        if worker not in self.workers:
            return 400, {"error": f"invalid workerID {worker}"}
        if kind == "schedules":
            return self._schedules(worker, body["schedules"])
        if mirror is None:
            return 200, [job for (owner, _name), job in self.jobs.items() if owner == worker] or None
        return self._size(worker, mirror, body) if size else self._status(worker, body)

    def _schedules(self, worker: str, schedules: list[dict[str, str]]) -> tuple[int, Any]:
        for each in schedules:
            if (worker, each["name"]) in self.jobs:
                self.jobs[worker, each["name"]]["next_schedule"] = each["next_schedule"]
        return 200, {}

    def _size(self, worker: str, mirror: str, body: dict[str, Any]) -> tuple[int, Any]:
        if (worker, mirror) not in self.jobs:
            return 500, {"error": f"no mirror '{mirror}' exists in worker '{worker}'"}
        self.jobs[worker, mirror]["size"] = body["size"]
        return 200, self.jobs[worker, mirror]

    def _status(self, worker: str, body: dict[str, Any]) -> tuple[int, Any]:
        """Times are stamped on arrival, whatever the worker says, and the next schedule is forgotten."""
        key, now = (worker, body["name"]), _now()
        before = self.jobs.get(key, dict.fromkeys(TIMES, ZERO) | {"status": "none", "size": ""})
        self.told.append((body["name"], body["status"]))
        after = {"name": body["name"], "worker": worker, "is_master": body.get("is_master", False)}
        after |= {"status": body["status"] if body["status"] in STATUSES else "none"}
        after |= {name: before[name] for name in TIMES[:3]} | {"next_schedule": ZERO}
        if body["status"] == "pre-syncing" and before["status"] != "pre-syncing":
            after["last_started"] = now
        if body["status"] == "success":
            after["last_update"] = now
        if body["status"] in ("success", "failed"):
            after["last_ended"] = now
        size = body.get("size", "")
        kept = before["size"] if size in ("", "unknown") and before["size"] else size
        after |= {"upstream": body.get("upstream", ""), "size": kept, "error_msg": body.get("error_msg", "")}
        self.jobs[key] = after
        return (200 if body["status"] in STATUSES else 400), after


def _now() -> str:
    return datetime.fromtimestamp(time.time(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Model
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        sent = self.rfile.read(length).decode() or None
        self.server.heard.append((self.command, self.path, self.headers["Content-Type"], sent))
        body = json.loads(sent) if sent else None
        status, answer = self.server.answer(self.command, self.path, body)
        if self.server.broken:
            status, answer = 500, {"error": "requested by the test"}
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        self.do_POST()

    def log_message(self, *_words: object) -> None:
        """Say nothing."""
