"""The API of GitLab, where pull requests are merge requests and comments are notes."""

from collections.abc import Iterator
from urllib.parse import quote

from runner.forge.forge import (
    FAILURE,
    LONGEST_STATUS,
    PENDING,
    STATUS,
    SUCCESS,
    CommitStatus,
    PostedComment,
    PullRequest,
    commit_name,
    number_of,
)
from runner.forge.place import ForgePlace
from runner.forge.rest_api import ForgeRefusal, RestApi

_STATES = {PENDING: "running", SUCCESS: "success", FAILURE: "failed"}

_SIZE = {"per_page": 100}


class GitLab:
    """A project on GitLab."""

    def __init__(self, place: ForgePlace, author: str | None) -> None:
        self._api = RestApi(place.api, {"PRIVATE-TOKEN": place.token}, place.ca_cert)
        self._root = f"/projects/{quote(place.repository, safe='')}"
        self._author = author

    def open_requests(self) -> Iterator[PullRequest]:
        """Yield all open merge requests."""
        path = f"{self._root}/merge_requests"
        for each in self._api.pages(path, _SIZE, state="opened", scope="all"):
            with self._api.reading(path):
                # A merge request without a commit has null.
                head = each["sha"] if each["sha"] is None else commit_name(each["sha"])
                found = PullRequest(number_of(each["iid"]), head or "", str(each["target_branch"]))
            if found.head:
                yield found

    def comments(self, number: int) -> Iterator[PostedComment]:
        """Yield the notes of a merge request, oldest first."""
        path = self._notes(number)
        own = self._author or self._own_name()
        for each in self._api.pages(path, _SIZE, sort="asc", order_by="created_at"):
            with self._api.reading(path):
                is_own = each["author"]["username"] == own and not each["system"]
                found = PostedComment(number_of(each["id"]), str(each["body"]), is_own)
            yield found

    def _own_name(self) -> str:
        user = self._api.get("/user")
        with self._api.reading("/user"):
            return str(user["username"])

    def _notes(self, number: int) -> str:
        return f"{self._root}/merge_requests/{number}/notes"

    def post(self, number: int, text: str) -> None:
        """Add a note to a merge request."""
        self._api.send("POST", self._notes(number), {"body": text}, repeatable=False)

    def edit(self, number: int, comment: int, text: str) -> None:
        """Replace the text of a note."""
        self._api.send("PUT", f"{self._notes(number)}/{comment}", {"body": text})

    def changes_checks(self, _number: int) -> bool:
        """Return False: a job of the default branch has made the plan, which a merge request cannot change."""
        return False

    def contains(self, revision: str, commit: str) -> bool:
        """Return whether the history of a revision has a commit: it then is their common one."""
        path = f"{self._root}/repository/merge_base"
        try:
            found = self._api.get(f"{path}?refs%5B%5D={revision}&refs%5B%5D={commit}")
        except ForgeRefusal as refusal:
            if refusal.status in (400, 404):
                return False
            raise
        with self._api.reading(path):
            return bool(found["id"] == commit)

    def set_status(self, commit: str, status: CommitStatus) -> None:
        """Set the status of a commit. GitLab keeps the earlier text of one that is pending already."""
        body = {
            "state": _STATES[status.state],
            "name": STATUS,
            "description": status.description[:LONGEST_STATUS],
            "target_url": status.url,
        }
        try:
            self._api.send("POST", f"{self._root}/statuses/{commit}", body)
        except ForgeRefusal as refusal:
            if refusal.status != 400 or "Cannot transition status" not in refusal.message:
                raise
