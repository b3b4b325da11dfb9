"""Lists of all mirrors, of which only changed ones are encoded again."""

import json
from typing import Any

from schemas.records import Site
from sitegen.messages.model import Facts
from sitegen.site.evaluate import Evaluator
from sitegen.site.fragments import Fragments
from sitegen.site.snapshot import MirrorView, Snapshot
from tests.sitegen.kit import NOW, status_of


class Written:
    """Fragments that record what they encoded."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._evaluator = Evaluator()
        self._fragments = Fragments(self._make)

    def _make(self, snapshot: Snapshot, view: MirrorView) -> Any:
        self.names.append(view.name)
        return {"name": view.name, "status": view.best.status.status, "site": snapshot.site.title}

    def listed(self, facts: Facts, title: str = "A") -> tuple[list[Any], list[str]]:
        self.names = []
        snapshot = self._evaluator.evaluate(facts, NOW)._replace(site=Site(title))
        return json.loads(b"".join(self._fragments.listed(snapshot))), self.names


STATUSES = {("w1", name): status_of(name) for name in ("arch", "debian", "gentoo")}
FACTS = Facts(1, (), STATUSES, None, None, frozenset())


def test_only_a_changed_mirror_is_encoded_again() -> None:
    written = Written()
    assert written.listed(FACTS)[1] == ["arch", "debian", "gentoo"]
    assert written.listed(FACTS)[1] == []
    changed = FACTS._replace(statuses=STATUSES | {("w1", "debian"): status_of("debian", "failed")})
    told, names = written.listed(changed)
    assert ([item["status"] for item in told], names) == (["success", "failed", "success"], ["debian"])


def test_a_removed_mirror_is_neither_listed_nor_kept() -> None:
    written = Written()
    written.listed(FACTS)
    fewer = FACTS._replace(statuses={("w1", "arch"): STATUSES["w1", "arch"]})
    assert [item["name"] for item in written.listed(fewer)[0]] == ["arch"]
    assert written.listed(FACTS)[1] == ["debian", "gentoo"]


def test_another_site_record_encodes_everything_again() -> None:
    written = Written()
    written.listed(FACTS)
    told, names = written.listed(FACTS, title="B")
    assert (len(names), {item["site"] for item in told}) == (3, {"B"})
    assert written.listed(FACTS, title="B")[1] == []


def test_no_mirrors_are_an_empty_list() -> None:
    assert Written().listed(FACTS._replace(statuses={})) == ([], [])
