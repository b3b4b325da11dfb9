"""From a merged commit to its status `applied on 3 of 3 workers`, by the JSON of the site."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner import cli
from runner.forge import applied, rest_api

from .fake_forge import COMMIT, FORGES, OTHER, TOKEN, FakeForge, FakeGitLab
from .scripted_manager import ScriptedManager, Serve

NEWER, UNKNOWN = "c" * 40, "f" * 40


def worker(name: str, revision: str | None, silent: bool = False, version: str | None = "0.3") -> dict[str, Any]:
    return {"name": name, "revision": revision, "silent": silent, "version": version}


def status(*workers: dict[str, Any], refused: str | None = None) -> bytes:
    refusal = "`_site.yml` is invalid" if refused else None
    return json.dumps({"workers": workers, "refused_revision": refused, "refusal": refusal}).encode()


@pytest.fixture(params=FORGES, ids=[each.kind for each in FORGES])
def forge(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeForge]:
    for name in [name for name in os.environ if name.startswith(("GITHUB_", "CI_", "GITLAB_", "GITEA_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SKIPJACK_FORGE_TOKEN", TOKEN)
    monkeypatch.setattr(rest_api, "PAUSES", (0.0,))
    monkeypatch.setattr(applied, "POLL", 0.0)
    with request.param() as found:
        yield found


def states(forge: FakeForge) -> list[tuple[str, str]]:
    names = {"running": "pending", "failed": "failure"} if isinstance(forge, FakeGitLab) else {}
    assert {commit for commit, _body in forge.statuses} <= {COMMIT}
    assert {body.get("context") or body["name"] for _commit, body in forge.statuses} <= {"skipjack/applied"}
    return [(names.get(body["state"], body["state"]), body["description"]) for _commit, body in forge.statuses]


def run(forge: FakeForge, site: ScriptedManager, *more: str) -> int:
    return cli.main(["forge", "applied", "--site", site.url, "--revision", COMMIT, *forge.words(), *more])


def test_the_status_follows_the_workers(forge: FakeForge, serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    forge.descendants = {(NEWER, COMMIT)}
    looks = [
        status(worker("w1", OTHER), worker("w2", UNKNOWN), worker("w3", None, silent=True, version=None)),
        status(worker("w1", COMMIT), worker("w2", OTHER), worker("w3", OTHER)),
        b"not JSON",
        status(worker("w1", NEWER), worker("w2", COMMIT), worker("w3", NEWER), worker("go", None, version="")),
    ]
    site = serve(lambda _asked, count: (200, looks[min(count, 3)]))
    assert run(forge, site) == 0
    assert site.paths == ["/status.json"] * 4
    found = states(forge)
    assert found[0] == ("pending", "applied on 0 of 3 workers; waiting for w1, w2, w3 (offline)")
    assert found[-1] == ("success", "applied on 3 of 3 workers")
    if not isinstance(forge, FakeGitLab):  # which keeps the first text of a pending one
        assert found[1] == ("pending", "applied on 1 of 3 workers; waiting for w2, w3")
        assert found[2] == ("pending", "the site cannot be read")
    assert capsys.readouterr().out.splitlines()[-1] == "applied on 3 of 3 workers"
    assert len([path for _method, path in forge.asked if "compare" in path or "merge_base" in path]) == 3, "once each"


def test_the_time_is_limited(forge: FakeForge, serve: Serve) -> None:
    site = serve(lambda *_words: (200, status(worker("w1", COMMIT), *(worker(f"m{n}", OTHER) for n in range(9)))))
    assert run(forge, site, "--wait", "0s") == 1
    words = "after 0s: applied on 1 of 10 workers; waiting for m0, m1, m2, 6 more"
    assert states(forge) == [("failure", words)]


def test_a_rejected_revision_is_reported_at_once(forge: FakeForge, serve: Serve) -> None:
    site = serve(lambda *_words: (200, status(worker("w1", OTHER), refused=COMMIT)))
    assert run(forge, site) == 1
    assert states(forge) == [("failure", "rejected: `_site.yml` is invalid")]


def test_a_long_name_fits_into_a_status(forge: FakeForge, serve: Serve) -> None:
    site = serve(lambda *_words: (200, status(worker("w" * 300, OTHER), worker("\x1b[31m\u202e", "../x"))))
    assert run(forge, site, "--wait", "0s") == 1
    [(_state, words)] = states(forge)
    assert len(words) == 140 and words.isprintable()


@pytest.mark.parametrize(
    ("answer", "said"),
    [((404, b"no"), "it answered 404"), ((200, b"<html>"), "is not that of a Skipjack site"),
     ((200, b'{"workers": 1}'), "is not that of a Skipjack site"), ((302, b""), "it answered 302")],
)  # fmt: skip
def test_an_address_that_is_not_a_site_fails_at_once(
    forge: FakeForge, serve: Serve, answer: tuple[int, bytes], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(forge, serve(lambda *_words: answer)) == 1
    err = capsys.readouterr().err
    assert said in err and "Check `--site`" in err and len(err.splitlines()) == 1
    assert states(forge) == []


def test_the_documents_of_a_site_have_what_is_read() -> None:
    """The keys of `status.json` that the examples above have, as the schema of the API describes them."""
    schema = json.loads((Path(__file__).parents[2] / "schemas/files/api.schema.json").read_text())
    assert {"name", "revision", "silent", "version"} <= set(schema["$defs"]["worker"]["required"])
    assert {"refused_revision", "refusal"} <= set(schema["$defs"]["catalogue"]["required"])
