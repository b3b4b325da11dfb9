"""A manager, with the requests of tunasync's worker and `tunasynctl`."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from tests.sitegen.kit import Manager

ZERO = "0001-01-01T00:00:00Z"
UPSTREAM = "rsync://ftp.example.org/debian/"


class Go:
    """A manager, with the requests of tunasync's worker and `tunasynctl`."""

    def __init__(self, manager: Manager) -> None:
        self.manager = manager

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        data = body if isinstance(body, bytes) or body is None else json.dumps(body)
        url = f"{self.manager.url}{path}"
        answer = requests.request(method, url, data=data, headers=headers, timeout=300)
        assert answer.headers["content-type"] == "application/json; charset=utf-8"
        return answer.status_code, answer.json()

    def register(self, url: str = "http://localhost:6000/") -> tuple[int, Any]:
        return self.send(
            "POST", "/workers", {"id": "w1", "url": url, "token": "", "last_online": ZERO, "last_register": ZERO}
        )

    def status(self, status: str, mirror: str = "debian", **more: Any) -> Any:
        body = {"name": mirror, "worker": "w1", "is_master": True, "status": status, "upstream": UPSTREAM} | more
        code, answer = self.send("POST", f"/workers/w1/jobs/{mirror}", body)
        assert code == 200, answer
        return answer

    def jobs(self) -> Any:
        return self.manager.get("/workers/w1/jobs")


@contextmanager
def serving(folder: Path, *, alone: bool = False, **tunasync: Any) -> Iterator[Go]:
    """Yield a manager in a thread of this process, or with `alone` in a process of its own."""
    manager = Manager(folder, tunasync={"writes_from": ["127.0.0.0/8"], **tunasync})
    with manager.serving() if alone else manager.answering():
        yield Go(manager)
    manager.session.close()
