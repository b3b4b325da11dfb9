"""The pages of the API name every route and metric that the manager has, and no others."""

import re

from schemas.records import ClientLimits, ManagerSettings
from sitegen.storage.store import Store
from sitegen.web.access import Access
from sitegen.web.gate import Gate
from sitegen.web.metrics import Metrics
from sitegen.web.snapshot_cache import SnapshotCache
from tests.docs.pages import inline, read
from tests.sitegen.kit import Manager

PAGE = "docs/api.md"
ROUTE = re.compile(r"(?:(?:GET|POST|DELETE) )?(/(?:api|cmd|jobs|metrics|ping|workers)\b[\w./-]*)(?:\?.*)?")


def routes_of(page: str) -> set[str]:
    """The paths that a page names, with `{}` for each part that a reader fills in."""
    found = [match[1] for code in inline(page) if (match := ROUTE.fullmatch(code))]
    return {re.sub(r"\b[A-Z]+\b", "{}", path).rstrip("/") for path in found}


def test_the_pages_name_only_routes_that_exist_and_all_of_the_api(manager: Manager) -> None:
    with manager.answering():
        described = manager.session.get(f"{manager.url}/api/v1/openapi.json").json()
    routes = {re.sub(r"\{\w+\}", "{}", path) for path in described["paths"]}
    named = routes_of(PAGE) | routes_of("docs/manager.md")
    # The beginning of all others, and a route that exists only with its setting, which this manager has not.
    assert named - routes == {"/api/v1", "/api/v1/webhook"}
    assert {path for path in routes if path.startswith("/api/")} - named == set()


def test_the_page_names_all_metrics_and_no_others(store: Store) -> None:
    gate = Gate(ClientLimits())
    text = Metrics(Access(store, ManagerSettings()), SnapshotCache(store, lambda: 0.0), store, gate).text(0.0)
    exported = set(re.findall(r"^# TYPE (skipjack_\w+)", text.decode(), re.M))

    of_mirrors, others = read(PAGE).partition("## Metrics")[2].split("```")[0].split("The others are:")
    cells = [re.findall(r"`(\w+)`", row[0]) for row in re.findall(r"^\| (.*?) \|(.*)$", of_mirrors, re.M)]
    named = {f"skipjack_mirror_{name}" for names in cells for name in names}
    for row in re.findall(r"^\| (`.*?) \|", others, re.M):
        first, *rest = re.findall(r"`(\w+)`", row)
        named |= {first, *(f"skipjack_worker{name}" for name in rest)}
    assert exported == named
