"""Read the live facts of a site from its manager's public API. A plan needs only what visitors see, so no token."""

import time
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

from runner.forecast.live_facts import LiveCopy, LiveFacts, PastSize, ReportedWorker
from schemas import json_text
from schemas.addresses import without_secrets
from schemas.errors import SkipjackError
from schemas.http_client import ExchangeFailed, HttpClient, Response, Timeouts
from schemas.names import is_name
from schemas.report import HIGHEST

_CONNECT, _ANSWER, _ALL = 10.0, 60.0, 120.0
"""Seconds: for a connection, for one answer, and for all of them."""

_MOST_BYTES, _MOST_VALUES = 64 * 1024**2, 2_000_000
"""Limits of one answer: the mirrors of 10,000 definitions take about a quarter of that."""

_MOST_HISTORIES = 100
"""Mirrors whose history is read, each with a request; the manager limits those of a client."""

_SUCCESS = "success"
_MALFORMED = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError)


def read(url: str, names: Iterable[str]) -> LiveFacts:
    """Return the facts of the site at a manager's URL, with the history of the first mirrors in `names`.

    SkipjackError if the manager does not answer or is none.
    """
    site = _LiveSite(url)
    try:
        mirrors, workers = site.listed("mirrors"), site.listed("workers")
        known = {str(plain["name"]) for plain in mirrors}
        wanted = [name for name in dict.fromkeys(names) if name in known][:_MOST_HISTORIES]
        histories = {name: site.listed(f"mirrors/{quote(name)}", "runs", is_fleeting=True) for name in wanted}
        copies = {key: copy for plain in mirrors for key, copy in _copies(plain, histories)}
        return LiveFacts(copies, {str(each["name"]): _worker(each) for each in workers})
    except _MALFORMED as error:
        raise _not_a_manager(url) from error
    finally:
        site.client.close()


class _LiveSite:
    """The manager of a site, which is asked one question after the other, within a time for all of them."""

    def __init__(self, url: str) -> None:
        self.url, self.client = url, HttpClient(url)
        self._ends_at = time.monotonic() + _ALL

    def listed(self, path: str, key: str = "", *, is_fleeting: bool = False) -> list[dict[str, Any]]:
        """Return a list of an answer: `key` of it, by default that of the path's name.

        It is empty for a path that is missing and `is_fleeting`: its mirror may be gone since it was listed.
        """
        answer = self._answer(path)
        if answer.status == 404 and is_fleeting:
            return []
        if answer.status != 200:
            raise _refused(self.url, answer.status)
        found = json_text.parse(answer.body, _MOST_VALUES)[key or path]
        if not isinstance(found, list):
            raise _not_a_manager(self.url)
        return found

    def _answer(self, path: str) -> Response:
        left = self._ends_at - time.monotonic()
        try:
            if left <= 0:
                raise ExchangeFailed(f"its answers take longer than {_ALL:.0f} s")
            timeouts = Timeouts(min(_CONNECT, left), min(_ANSWER, left))
            return self.client.exchange("GET", f"/api/v1/{path}", timeouts, most=_MOST_BYTES)
        except ExchangeFailed as error:
            what = f"cannot reach the manager at {without_secrets(self.url)}: {error}."
            raise SkipjackError(what, "Check `--live` and that the manager is running.") from error


def _refused(url: str, status: int) -> SkipjackError:
    """Return the error for an answer with another status than 200."""
    if status in (401, 403):
        what = f"the manager at {without_secrets(url)} needs a token for `api`."
        return SkipjackError(what, "Remove `api` from `protected_reads` in its settings, or plan without `--live`.")
    if status == 429 or status >= 500:
        what = f"the manager at {without_secrets(url)} cannot answer now: HTTP status {status}."
        return SkipjackError(what, "Try again later, or plan without `--live`.")
    return _not_a_manager(url, f"it answered {status}")


def _copies(
    plain: dict[str, Any], histories: dict[str, list[dict[str, Any]]]
) -> Iterator[tuple[tuple[str, str], LiveCopy]]:
    name = plain["name"]
    for copy in plain["copies"]:
        worker = copy["worker"]
        runs = [run for run in histories.get(name, ()) if run["worker"] == worker] or [copy["run"]]
        if is_name(name) and is_name(worker):
            yield (name, worker), LiveCopy(_bytes(copy["size"]), tuple(_past(runs)))


def _past(runs: Iterable[dict[str, Any] | None]) -> Iterator[PastSize]:
    for run in runs:
        if run is not None and run["status"] == _SUCCESS and run["ended_at"] is not None:
            took = run["duration"]
            duration = None if took is None else json_text.moment(took)
            ended_at = json_text.moment(run["ended_at"])
            yield PastSize(ended_at, duration, _bytes(run["size"]), _bytes(run.get("free_space")))


def _worker(plain: dict[str, Any]) -> ReportedWorker:
    state = plain.get("exported_policy")
    return ReportedWorker(None if state is None else json_text.text(state))


def _bytes(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= HIGHEST:
        raise ValueError("not a size")
    return value


def _not_a_manager(url: str, why: str = "its answer is not that of one") -> SkipjackError:
    what = f"{without_secrets(url)} is not the address of a manager: {why}."
    return SkipjackError(what, "Write the address of the manager, such as `--live https://mirrors.example.org`.")
