"""A manager for tests: it accepts reports and gives commands as the real one does, and fails on request."""

import http.server
import json
import threading
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

from schemas.config.schema_set import validator
from tests.e2e.background_server import BackgroundServer


class FakeManager(BackgroundServer):
    """Gives the commands in `commands`, keeps results and reports; `fault` names the path that answers 500."""

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.changed = threading.Condition()
        self.commands: list[dict[str, Any]] = []
        self.results: dict[int, dict[str, Any]] = {}
        self.reports: list[dict[str, Any]] = []
        self.asked: list[int] = []
        self.held = 0
        self.known = 0
        self.revision: str | None = None
        self.fault, self.forgetful, self.old = "", False, False

    def give(self, kind: str, *mirrors: str, force: bool = False, **more: str) -> int:
        """Give a command, and return its number."""
        with self.changed:
            number = len(self.commands) + 1
            head = {"number": number, "kind": kind, "mirrors": list(mirrors), "force": force}
            self.commands.append(head | {"issued_at": time.time(), "issued_by": "alice"} | more)
            self.changed.notify_all()
        return number

    def statuses(self, mirror: str) -> list[str]:
        """Return the reported statuses of a mirror, in order."""
        found = [status for report in self.reports for status in report["statuses"]]
        return [status["status"] for status in found if status["mirror"] == mirror]

    def last(self, mirror: str) -> Any:
        """Return the last reported status of a mirror."""
        found = [status for report in self.reports for status in report["statuses"]]
        return [status for status in found if status["mirror"] == mirror][-1]

    def successes(self, mirror: str) -> int:
        """Count a mirror's runs that were reported as successes; several reports may contain the same run."""
        found = [status for report in self.reports for status in report["statuses"] if status["mirror"] == mirror]
        return len({status["run"]["id"] for status in found if status["run"] and status["run"]["status"] == "success"})


class _Handler(http.server.BaseHTTPRequestHandler):
    server: FakeManager
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        query = {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}
        if self._fails():
            return
        if self.server.old:
            self._say(404, {"error": "Not Found"})
            return
        with self.server.changed:
            after = int(query["after"])
            self.server.asked.append(after)
            self.server.held += 1
            self.server.changed.wait_for(lambda: len(self.server.commands) != after, float(query["wait"]))
            self.server.held -= 1
            newest = len(self.server.commands)
            again = 0 if self.server.forgetful else after
            answer: Any = {"commands": self.server.commands[again:], "newest": newest}
        validator("commands").validate(answer)
        self._say(200, answer)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self._fails():
            return
        if self.path == "/api/v1/reports":
            validator("report").validate(body)
            self.server.reports += [each for each in body["reports"] if each["number"] > self.server.known]
            self.server.known = max([self.server.known, *(each["number"] for each in body["reports"])])
            self._say(200, {"acknowledged": self.server.known, "want": None, "revision": self.server.revision})
        else:
            schema = {"$ref": "https://skipjack.invalid/schemas/commands.schema.json#/$defs/results"}
            validator("commands").evolve(schema=schema).validate(body)
            self.server.results |= {each["number"]: each for each in body["results"]}
            self._say(200, {"taken": len(body["results"])})

    def _fails(self) -> bool:
        fails = bool(self.server.fault) and self.path.startswith(self.server.fault)
        if fails:
            self._say(500, {"error": "requested by the test"})
        return fails

    def _say(self, status: int, content: Any) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_words: object) -> None:
        """Print nothing."""
