"""Forges for tests: real HTTP servers with the routes, pages and errors that GitHub, GitLab and Gitea document."""

import http.server
import json
import re
from collections.abc import Callable
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from tests.e2e.background_server import BackgroundServer

TOKEN = "forge-token-of-the-test"
COMMIT, OTHER = "a" * 40, "b" * 40

Route = Callable[..., Any]


class HttpError(Exception):
    """The server answers an error."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers


class FakeForge(BackgroundServer):
    """A repository `site/mirrors`. `failing` has errors that the next requests get, `asked` what was requested."""

    prefix = ""
    me: ClassVar[dict[str, Any]] = {"id": 7, "login": "mirror-bot", "username": "mirror-bot"}
    largest_page = 100
    at_once = "^$"
    """The pattern of paths whose lists have no pages."""
    page_size = "per_page"

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.api = self.url + self.prefix
        self.asked: list[tuple[str, str]] = []
        self.failing: list[HttpError] = []
        self.is_of_job = False
        self.pulls: list[dict[str, Any]] = []
        self.comments: dict[int, list[dict[str, Any]]] = {}
        self.files: dict[int, list[str]] = {}
        self.statuses: list[tuple[str, dict[str, Any]]] = []
        self.descendants: set[tuple[str, str]] = set()
        """Pairs of commits of which the first has the second one in its history."""

    def pull(self, number: int, head: str = COMMIT, base: str = "main", state: str = "open") -> None:
        """Add a pull request."""
        self.pulls.append({"number": number, "head": head, "base": base, "state": state})
        self.comments[number] = []

    def comment(self, number: int, text: str, author: str | None = None) -> None:
        """Add a comment of a user, or of the token's own."""
        user = self.me if author is None else {"id": 99, "login": author, "username": author}
        mine = self.job_user if self.is_of_job and author is None else user
        identity = 1000 + sum(map(len, self.comments.values()))
        self.comments[number].append({"id": identity, "body": text, "user": mine})

    @property
    def job_user(self) -> dict[str, Any]:
        """The user of tokens that jobs get."""
        return {"id": 41898282, "login": "github-actions[bot]"}

    def texts(self, number: int) -> list[str]:
        """The comments of a pull request."""
        return [each["body"] for each in self.comments[number]]

    def words(self, *more: str) -> list[str]:
        """Options that lead to this forge."""
        return ["--forge", self.kind, "--api", self.api, "--repository", "site/mirrors", *more]

    kind = ""

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Any:
        """Return the JSON for a request."""
        for each, pattern, route in self.routes():
            if each == method and (found := re.fullmatch(self.prefix + pattern, path)):
                result = route(*found.groups(), **({"body": body} if body is not None else {}))
                has_pages = isinstance(result, list) and not re.search(self.at_once, path)
                return self._page(result, query) if has_pages else result
        raise HttpError(404, "Not Found")

    def _page(self, items: list[Any], query: dict[str, str]) -> list[Any]:
        size = min(int(query.get(self.page_size, "30")), self.largest_page)
        first = (int(query.get("page", "1")) - 1) * size
        return items[first : first + size]

    def routes(self) -> list[tuple[str, str, Route]]:
        """The routes: method, pattern of the path, function."""
        raise NotImplementedError

    def authorized(self, headers: Any) -> bool:
        """Whether a request has the token where this forge expects it."""
        return bool(headers["Authorization"] == f"Bearer {TOKEN}")

    def user(self) -> Any:
        """Return the user of the token."""
        if self.is_of_job:
            raise HttpError(403, "Resource not accessible by integration")
        return self.me

    def edit(self, identity: str, body: Any) -> Any:
        """Replace the text of a comment."""
        for each in (comment for comments in self.comments.values() for comment in comments):
            if each["id"] == int(identity):
                each["body"] = body["body"]
                return each
        raise HttpError(404, "Not Found")

    def post(self, number: str, body: Any) -> Any:
        """Add a comment of the token's user."""
        self.comment(int(number), body["body"])
        return self.comments[int(number)][-1]

    def status(self, commit: str, body: Any) -> Any:
        """Keep the status of a commit."""
        if len(body["description"]) > 140:
            raise HttpError(422, "description is too long (maximum is 140 characters)")
        self.statuses.append((commit, body))
        return body


class FakeGitHub(FakeForge):
    """The REST API of GitHub."""

    kind = "github"

    def routes(self) -> list[tuple[str, str, Route]]:
        """The routes."""
        root = "/repos/site/mirrors"
        return [
            ("GET", "/user", self.user),
            ("GET", f"{root}/pulls", self.listed),
            ("GET", rf"{root}/pulls/(\d+)/files", lambda number: [{"filename": x} for x in self.files[int(number)]]),
            ("GET", rf"{root}/issues/(\d+)/comments", lambda number: self.comments[int(number)]),
            ("POST", rf"{root}/issues/(\d+)/comments", self.post),
            ("PATCH", rf"{root}/issues/comments/(\d+)", self.edit),
            ("POST", rf"{root}/statuses/(\w+)", self.status),
            ("GET", rf"{root}/compare/(\w+)\.\.\.(\w+)", self.compared),
        ]

    def pull(self, number: int, head: str = COMMIT, base: str = "main", state: str = "open") -> None:
        """Add a pull request that changes one mirror."""
        super().pull(number, head, base, state)
        self.files[number] = ["debian.yml"]

    def listed(self) -> list[Any]:
        """The open pull requests."""
        return [
            {"number": each["number"], "head": {"sha": each["head"]}, "base": {"ref": each["base"]}}
            for each in self.pulls
            if each["state"] == "open"
        ]

    def compared(self, base: str, head: str) -> Any:
        """How two commits belong together."""
        if (head, base) in self.descendants:
            return {"status": "ahead"}
        raise HttpError(404, "Not Found") if head == "f" * 40 else _Answered({"status": "diverged"})


class FakeGitea(FakeGitHub):
    """The API of Gitea and Forgejo."""

    kind, prefix, page_size, largest_page = "gitea", "/api/v1", "limit", 20
    at_once = "/comments$"

    def authorized(self, headers: Any) -> bool:
        """Whether a request has the token."""
        return bool(headers["Authorization"] == f"token {TOKEN}")

    @property
    def job_user(self) -> dict[str, Any]:
        """The user of tokens that jobs get."""
        return {"id": -2, "login": "forgejo-actions"}

    def compared(self, base: str, head: str) -> Any:
        """The commits of the second one that the first one lacks."""
        return {"total_commits": 0 if (base, head) in self.descendants else 3}


class FakeGitLab(FakeForge):
    """The API of GitLab."""

    kind, prefix = "gitlab", "/api/v4"

    def authorized(self, headers: Any) -> bool:
        """Whether a request has the token."""
        return bool(headers["PRIVATE-TOKEN"] == TOKEN)

    def routes(self) -> list[tuple[str, str, Route]]:
        """The routes."""
        root = "/projects/site%2Fmirrors"
        return [
            ("GET", "/user", self.user),
            ("GET", f"{root}/merge_requests", self.listed),
            ("GET", rf"{root}/merge_requests/(\d+)/notes", self.notes),
            ("POST", rf"{root}/merge_requests/(\d+)/notes", self.post),
            ("PUT", rf"{root}/merge_requests/\d+/notes/(\d+)", self.edit),
            ("POST", rf"{root}/statuses/(\w+)", self.status),
            ("GET", rf"{root}/repository/merge_base", self.merge_base),
        ]

    def listed(self) -> list[Any]:
        """The open merge requests, and one without a commit."""
        return [{"iid": 999, "sha": None, "target_branch": "main"}] + [
            {"iid": each["number"], "sha": each["head"], "target_branch": each["base"]}
            for each in self.pulls
            if each["state"] == "open"
        ]

    def notes(self, number: str) -> list[Any]:
        """The notes of a merge request."""
        return [{**each, "author": each["user"], "system": False} for each in self.comments[int(number)]]

    def merge_base(self) -> Any:
        """The common commit of the two of the last request."""
        query = parse_qs(urlsplit(self.asked[-1][1]).query)
        revision, commit = query["refs[]"]
        if revision == "f" * 40:
            raise HttpError(400, "Could not find ref")
        return {"id": commit if (revision, commit) in self.descendants else "0" * 40}

    def status(self, commit: str, body: Any) -> Any:
        """Keep the status; one that is running cannot be set to running."""
        if self.statuses and self.statuses[-1][1]["state"] == body["state"] == "running":
            raise HttpError(400, "Cannot transition status via :run from :running (Reason(s): Status cannot …)")
        return super().status(commit, body)


class _Answered(Exception):  # noqa: N818 - not an error
    """The answer of a route, in the place where others raise."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: FakeForge
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def _serve(self) -> None:
        length = int(self.headers["Content-Length"] or 0)
        data = self.rfile.read(length)
        self.server.asked.append((self.command, self.path))
        parts = urlsplit(self.path)
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        try:
            if self.server.failing:
                raise self.server.failing.pop(0)
            if not self.server.authorized(self.headers):
                raise HttpError(401, "Bad credentials")
            body = json.loads(data) if data else None
            self._say(200, self.server.answer(self.command, parts.path, query, body), {})
        except _Answered as answered:
            self._say(200, answered.args[0], {})
        except HttpError as error:
            self._say(error.status, {"message": error.message}, error.headers)

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PATCH(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def _say(self, status: int, plain: Any, headers: dict[str, str]) -> None:
        data = json.dumps(plain).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_words: object) -> None:
        """Print nothing."""


FORGES = (FakeGitHub, FakeGitea, FakeGitLab)
