"""Pages and documents rendered from invented facts, and read with an HTML parser."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from schemas.config.cross_hints import OF_THE_SITE
from schemas.report import Override, Probe, ReportedProblem
from sitegen.messages.model import Facts, Note, PastRun
from sitegen.site.documents import GENERATOR
from sitegen.site.evaluate import Evaluator
from sitegen.site.pages import Pages, mirror_files
from sitegen.site.snapshot import Snapshot
from sitegen.site.worker_views import LIVE
from tests.sitegen.kit import HOUR, NOW, REVISION, run_of, status_of
from tests.sitegen.test_evaluate import DAY, PROBE, PROGRESS, RULE, SYNCING, declared, evaluated, mirror, worker

EVIL = "\"'><script>alert(1)</script>{{ 7*7 }}\x1b[31m\x00"
VOID = {"meta", "link", "input", "path", "br"}


class Page(HTMLParser):
    """Checks that tags nest, and collects what tests ask for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def attributes(self, name: str) -> list[str]:
        return [str(attrs[name]) for _, attrs in self.tags if name in attrs]


def rendered(snapshot: Snapshot, history: tuple[PastRun, ...] = (), pages: Pages | None = None) -> dict[str, bytes]:
    pages = pages or Pages()
    outdated = pages.outdated(snapshot)
    own = pages.mirrors(snapshot, outdated, {view.name: history for view in outdated})
    return own | pages.overviews(snapshot)


def page(files: dict[str, bytes], path: str) -> Page:
    return Page(files[path].decode())


def test_the_files_of_a_site() -> None:
    files = rendered(evaluated(("w1", status_of()), config=declared(mirror())))
    assert set(files) == {
        "index.html", "workers.html", "meta.json", "status.json", "static/tunasync.json", "assets/style.css",
        "assets/site.js", "mirrors/debian.html", "mirrors/debian.json",
    }  # fmt: skip


def test_no_file_loads_external_resources_and_every_link_is_relative() -> None:
    files = rendered(evaluated(("w1", status_of()), config=declared(mirror())))
    for path in [path for path in files if path.endswith(".html")]:
        found = page(files, path)
        loaded = found.attributes("src") + [
            str(attrs["href"]) for tag, attrs in found.tags if tag == "link" and attrs["rel"] != "canonical"
        ]
        assert all(url.startswith(("assets/", "../assets/", "data:")) for url in loaded), loaded
        assert not [url for url in found.attributes("href") if url.startswith("/")]
        assert f'content="{GENERATOR}"' in files[path].decode()[:512]
        assert files[path].endswith(b"</html>")


def test_the_overview_shows_freshness_and_when_it_ends() -> None:
    files = rendered(evaluated(("w1", status_of(size=5 * 1024**3)), config=declared(mirror(), mirror("new"))))
    found = page(files, "index.html")
    assert "debian up to date success 2027-01-15 08:00 5.00 GiB" in found.text
    assert "new unknown never run never" in found.text
    assert found.attributes("data-stale-at") == [str(NOW + 2 * HOUR)]
    assert found.attributes("data-unknown-at") == [str(NOW + HOUR)]


def test_a_failure_is_explained_with_its_log() -> None:
    run = run_of(2, "failed", reason="rsync exited with 23", exit_code=23, log_tail="line 1\n\x1b[31mline 2\x1b[0m\x07")
    history = (PastRun("w1", run), PastRun("w1", run_of(1, duration=75.0, bytes=2048, files=1234)))
    files = rendered(evaluated(("w1", status_of(status="failed", run=run)), config=declared(mirror())), history)
    text = files["mirrors/debian.html"].decode()
    assert "rsync exited with 23" in text
    assert ">line 1\nline 2</pre>" in text
    assert "success 1m 15s 2.00 KiB 1,234" in Page(text).text
    plain = json.loads(files["mirrors/debian.json"])
    assert plain["copies"][0]["run"]["log_tail"].startswith("line 1")
    assert [item["id"] for item in plain["runs"]] == [2, 1]


def test_every_page_of_a_held_workers_mirrors_shows_that_it_is_held() -> None:
    config = declared(mirror(), mirror("arch", on="w2"))
    maker, pages = Evaluator(), Pages()
    for held in (False, True, False):
        workers = (worker()._replace(held=held), worker("w2"))
        files = rendered(evaluated(config=config, workers=workers, evaluator=maker), pages=pages)
        for path in ("index.html", "mirrors/debian.html", "workers.html"):
            if path in files or held:
                assert ("No sync starts" in page(files, path).text) == held, path
        assert "mirrors/debian.html" in files, "rendered again when the worker is held, and when it is released"
        assert ("Held: w1 . No sync starts on a held worker" in page(files, "index.html").text) == held
        assert "mirrors/arch.html" not in files or "Held" not in page(files, "mirrors/arch.html").text


def test_every_copy_of_a_mirror_is_shown() -> None:
    config = declared(mirror(), mirror(on="w2", role="slave"))
    files = rendered(evaluated(("w1", status_of()), ("w2", status_of(status="failed", is_master=False)), config=config))
    assert "Copies" in page(files, "mirrors/debian.html").text
    assert [copy["worker"] for copy in json.loads(files["mirrors/debian.json"])["copies"]] == ["w1", "w2"]
    assert len(json.loads(files["status.json"])["mirrors"]) == 1


def test_workers_are_shown_with_their_problems() -> None:
    problem = ReportedProblem("debian", "debian.yml:1:1", "`x` is <wrong>.", "Do `y`.")
    state = worker(last_seen=NOW - HOUR, revision="c" * 40)._replace(problems=(problem,), sent_at=NOW - HOUR + 90)
    found = page(rendered(evaluated(config=declared(), workers=(state,))), "workers.html").text
    for words in (
        "w1 offline",
        "unknown revision",
        "Clock 1m 30s ahead",
        "debian.yml:1:1 x is <wrong>. Do y .",
        "never seen",
    ):
        assert words in found, words


def test_a_clock_that_was_wrong_is_shown_beside_what_it_is_now() -> None:
    state = worker(last_seen=NOW)._replace(sent_at=NOW, clock_ahead=7200.0, clock_at=NOW - HOUR)
    files = rendered(evaluated(config=declared(), workers=(state,)))
    assert "Clock was 2h ahead" in page(files, "workers.html").text
    told = {each["name"]: each["clock_notice"] for each in json.loads(files["status.json"])["workers"]}
    assert (told["w1"], told["w2"]) == ({"ahead": 7200.0, "at": NOW - HOUR}, None)
    for now in (state._replace(sent_at=NOW + 7200), state._replace(clock_ahead=None, clock_at=None)):
        assert "was 2h" not in page(rendered(evaluated(config=declared(), workers=(now,))), "workers.html").text


def test_a_rejected_revision_is_shown() -> None:
    facts = Facts(1, (), {}, declared(mirror()), Note("It is wrong.", NOW), frozenset())
    files = rendered(Evaluator().evaluate(facts, NOW))
    stays = "Revision bbbbbbbbbb stays in use."
    assert f"The newest revision was rejected. {stays} Reason: It is wrong." in page(files, "workers.html").text
    assert json.loads(files["status.json"])["refusal"] == "It is wrong."


def test_an_empty_site_shows_that_it_is_empty() -> None:
    files = rendered(evaluated(workers=()))
    assert "No mirrors yet" in page(files, "index.html").text
    assert "No workers yet" in page(files, "workers.html").text
    assert json.loads(files["status.json"])["mirrors"] == json.loads(files["static/tunasync.json"]) == []


def test_text_from_reports_and_configuration_never_becomes_markup() -> None:
    run = run_of(1, "failed", reason=EVIL, log_tail=EVIL)
    told = status_of(status="failed", run=run, upstream=EVIL, probe=PROBE._replace(problem=EVIL))
    problem = ReportedProblem("debian", EVIL, EVIL, EVIL)
    evil = mirror()._replace(title=EVIL, description=EVIL, category=EVIL, homepage="javascript:alert(1)//" + EVIL)
    evil = evil._replace(freshness=RULE._replace(file=EVIL))
    config = declared(evil)
    config = config._replace(
        site=config.site._replace(title=EVIL, description=EVIL, contact=EVIL, categories={EVIL: EVIL}),
        workers={name: item._replace(description=EVIL) for name, item in config.workers.items()},
        problems=(EVIL,),
    )
    state = worker()._replace(version=EVIL, problems=(problem,))
    facts = Facts(
        1, (state,), {("w1", "debian"): told}, config, Note(EVIL, NOW, EVIL), frozenset(), unreachable=Note(EVIL, NOW)
    )
    for path, content in rendered(Evaluator().evaluate(facts, NOW), (PastRun("w1", run),)).items():
        if not path.endswith(".html"):
            continue
        found = Page(content.decode())
        assert [attrs["src"] for tag, attrs in found.tags if tag == "script" and "site.js" in str(attrs["src"])]
        assert len([tag for tag, _ in found.tags if tag == "script"]) == 1
        assert not {name for _, attrs in found.tags for name in attrs if name.startswith("on")}
        assert not [url for url in found.attributes("href") if "javascript:" in url]
        assert "{{ 7*7 }}" in found.text
        assert "\x1b" not in content.decode()
        assert "\x00" not in content.decode()


def test_an_unchanged_mirror_is_not_rendered_again() -> None:
    pages, evaluator, config = Pages(), Evaluator(), declared(mirror("a"), mirror("b"))
    rendered(evaluated(("w1", status_of("a")), ("w1", status_of("b")), config=config, evaluator=evaluator), pages=pages)
    told = (("w1", status_of("a")), ("w1", status_of("b", "failed")))
    files = rendered(evaluated(*told, config=config, now=NOW + 5, evaluator=evaluator), pages=pages)
    assert "mirrors/b.html" in files
    assert "mirrors/a.html" not in files
    assert [item["status"] for item in json.loads(files["status.json"])["mirrors"]] == ["success", "failed"]


def test_another_site_record_renders_everything_again_and_another_revision_nothing() -> None:
    pages, evaluator, config = Pages(), Evaluator(), declared(mirror())
    told = ("w1", status_of())
    rendered(evaluated(told, config=config, evaluator=evaluator), pages=pages)
    newer = config._replace(revision="c" * 40)
    assert pages.outdated(evaluated(told, config=newer, evaluator=evaluator)) == []
    renamed = newer._replace(site=config.site._replace(title="New", time_zone="Asia/Shanghai"))
    files = rendered(evaluated(told, config=renamed, evaluator=evaluator), pages=pages)
    assert "New" in page(files, "mirrors/debian.html").text
    assert "2027-01-15 16:00" in page(files, "index.html").text


def test_a_mirror_that_turns_stale_is_rendered_again() -> None:
    pages, evaluator, config, told = Pages(), Evaluator(), declared(mirror()), ("w1", status_of())
    seen = (worker(last_seen=NOW + 2 * HOUR),)
    rendered(evaluated(told, config=config, workers=seen, evaluator=evaluator), pages=pages)
    stale = evaluated(told, config=config, workers=seen, now=NOW + 2 * HOUR, evaluator=evaluator)
    assert [view.verdict for view in pages.outdated(stale)] == ["stale"]


def test_progress_is_shown_and_renders_its_own_mirror_alone() -> None:
    pages, evaluator, config = Pages(), Evaluator(), declared(mirror(), mirror("other"))
    told = (("w1", SYNCING), ("w1", status_of("other")))
    before = rendered(evaluated(*told, config=config, evaluator=evaluator), pages=pages)
    seen = (worker(progress=(PROGRESS,)),)
    files = rendered(evaluated(*told, config=config, workers=seen, evaluator=evaluator), pages=pages)
    assert [path for path in files if path.startswith("mirrors/")] == ["mirrors/debian.html", "mirrors/debian.json"]
    for path, words in (("index.html", "syncing 57 % 57 %"), ("mirrors/debian.html", "2.00 KiB · 10 B/s · 3 files")):
        found = page(files, path)
        bars = [attrs for tag, attrs in found.tags if tag == "progress"]
        assert bars == [{"max": "100", "value": "57", "aria-label": "Progress of the run"}]
        assert words in found.text
        assert found.attributes("data-until") == [str(NOW + LIVE)]
    text = page(files, "mirrors/debian.html").text
    assert "Started 2027-01-15 07:59 As of 2027-01-15 07:59" in text
    shown = {"at": NOW - 5, "percent": 57.0, "bytes": 2048, "speed": 10, "files": 3}
    alone = json.loads(files["mirrors/debian.json"])
    assert [alone["progress"], alone["copies"][0]["progress"]] == [shown, shown]
    assert [item["progress"] for item in json.loads(files["status.json"])["mirrors"]] == [shown, None]
    assert files["static/tunasync.json"] == before["static/tunasync.json"]


def test_progress_without_a_percentage_is_shown_as_text() -> None:
    def shown(**fields: Any) -> Page:
        nothing = PROGRESS._replace(percent=None, bytes=None, speed=None, files=None)
        seen = (worker(progress=(nothing._replace(**fields),)),)
        return page(rendered(evaluated(("w1", SYNCING), config=declared(mirror()), workers=seen)), "index.html")

    assert "syncing 2.00 KiB" in shown(bytes=2048).text
    assert shown(speed=5).attributes("data-until") == []
    assert [attrs["value"] for tag, attrs in shown(percent=1e18).tags if tag == "progress"] == ["100"]
    assert [attrs["value"] for tag, attrs in shown(percent=99.9).tags if tag == "progress"] == ["99"]


def compared(
    probe: Probe | None, status: str = "success", now: float = NOW, at: float | None = NOW
) -> dict[str, bytes]:
    config = declared(mirror()._replace(title="Debian", freshness=RULE, stale_after=int(3 * DAY)))
    told = status_of(status=status, last_success_at=at, probe=probe)
    return rendered(evaluated(("w1", told), config=config, now=now))


LAGS = PROBE._replace(upstream_at=NOW, own_at=NOW - 26 * HOUR, same=False, even_at=NOW - 25 * HOUR)
STANDS = PROBE._replace(upstream_at=NOW - 8 * DAY, own_at=NOW - 8 * DAY)


@pytest.mark.parametrize(
    ("told", "mark", "why"),
    [
        (
            {"probe": STANDS},
            "out of date upstream not updated",
            "out of date success The upstream is not updated. It last changed 2027-01-07 08:00 . This mirror has the"
            " same files. Caused by: the upstream.",
        ),
        (
            {"probe": LAGS, "status": "failed"},
            "out of date behind upstream",
            "out of date failed This mirror is behind its upstream by 1d 2h. The last run did not succeed."
            " Caused by: this site.",
        ),
        (
            {"probe": LAGS},
            "out of date behind upstream",
            "The last run succeeded, but did not catch up. Caused by: this site.",
        ),
        (
            {"probe": PROBE, "status": "failed", "at": NOW - 3 * DAY},
            "out of date failed",
            "The last success is too old. The last run did not succeed. Files may be outdated.",
        ),
        ({"probe": PROBE, "now": NOW + HOUR}, "unknown worker offline", "Its worker w1 is offline."),
        ({"probe": None, "status": "failed", "at": None}, "unknown failed", "No run has succeeded yet."),
        ({"probe": PROBE}, "up to date success", "up to date success Last success"),
    ],
    ids=["upstream", "lag after a failure", "lag after a success", "age", "silence", "never", "fresh"],
)
def test_pages_show_the_cause(told: dict[str, Any], mark: str, why: str) -> None:
    files = compared(**told)
    assert mark in page(files, "index.html").text
    assert why in page(files, "mirrors/debian.html").text


@pytest.mark.parametrize(
    ("probe", "words"),
    [
        (
            PROBE,
            "2027-01-15 06:00 Mirror time 2027-01-15 06:00 Lag none Compared 2027-01-15 07:59"
            " Compared file: lastupdate",
        ),
        (LAGS, "2027-01-15 08:00 Mirror time 2027-01-14 06:00 Lag 1d 2h Compared"),
        (
            PROBE._replace(upstream_at=None, own_at=None),
            "unknown Mirror time unknown Lag none Compared",
        ),
        (
            Probe(NOW, None, None, False),
            "Lag unknown, files differ Compared 2027-01-15 08:00 The files contain no time and were never identical.",
        ),
        (
            Probe(NOW, None, NOW, None, "the upstream has no lastupdate"),
            "The upstream has no usable time now. Freshness is judged by the age of the last success."
            " The comparison failed: the upstream has no lastupdate",
        ),
        (PROBE._replace(problem="it is down"), "Later comparisons failed: it is down"),
        (
            LAGS._replace(upstream_at=NOW + DAY, even_at=None),
            "unknown, files differ Compared 2027-01-15 07:59 The upstream time is in the future. Freshness is",
        ),
        (
            PROBE._replace(at=NOW - 2 * DAY, upstream_at=NOW - 3 * DAY),
            "The comparison is much older than the last success. Freshness is judged by",
        ),
        (
            None,
            "Upstream comparison Not compared yet (file lastupdate ). Freshness is judged by the age of the last"
            " success.",
        ),
    ],
)
def test_a_mirrors_page_shows_the_result_of_the_comparison(probe: Probe | None, words: str) -> None:
    files = compared(probe)
    assert words in page(files, "mirrors/debian.html").text
    (copy,) = json.loads(files["mirrors/debian.json"])["copies"]
    counts = probe is not None and probe.at > NOW - DAY
    assert copy["probe"] == (probe and probe._asdict() | {"file": "lastupdate", "counts": counts})


def test_documents_contain_the_cause_and_the_lag() -> None:
    files = compared(LAGS)
    for document in (json.loads(files["mirrors/debian.json"]), *json.loads(files["status.json"])["mirrors"]):
        assert (document["freshness"], document["cause"], document["lag"]) == ("stale", "lag", 26 * HOUR)
    (job,) = json.loads(files["static/tunasync.json"])
    assert (job["skipjack"]["freshness"], job["skipjack"]["cause"]) == ("stale", "lag")
    unwanted = rendered(evaluated(("w1", status_of(probe=LAGS)), config=declared(mirror())))
    assert "Upstream comparison" not in page(unwanted, "mirrors/debian.html").text
    assert json.loads(unwanted["mirrors/debian.json"])["copies"][0]["probe"] is None


def test_another_probe_renders_its_own_mirror_alone() -> None:
    pages, evaluator = Pages(), Evaluator()
    config = declared(mirror()._replace(freshness=RULE), mirror("other"))

    def files(probe: Probe) -> dict[str, bytes]:
        told = (("w1", status_of(probe=probe)), ("w1", status_of("other")))
        return rendered(evaluated(*told, config=config, evaluator=evaluator), pages=pages)

    files(PROBE)
    newer = files(PROBE._replace(at=NOW))
    assert [path for path in newer if path.startswith("mirrors/")] == ["mirrors/debian.html", "mirrors/debian.json"]
    assert [mirror["probe"]["at"] for mirror in json.loads(newer["mirrors/debian.json"])["copies"]] == [NOW]


def test_a_removed_mirror_has_no_files() -> None:
    assert mirror_files(evaluated(("w1", status_of("a")))) == ["a.html", "a.json"]
    assert mirror_files(evaluated()) == []


@pytest.mark.parametrize("path", ["status.json", "mirrors/debian.json"])
def test_documents_contain_their_time_revision_and_generator(path: str) -> None:
    plain = json.loads(rendered(evaluated(("w1", status_of()), config=declared(mirror())))[path])
    assert (plain["generated_at"], plain["revision"], plain["generator"]) == (NOW, REVISION, GENERATOR)


def test_the_overviews_show_that_workers_have_problems() -> None:
    """Mirror pages do not: they are not rendered again for it."""
    config, told = declared(mirror(), mirror("other", "w2")), (("w1", status_of()), ("w2", status_of("other")))

    def marked(silent: bool, **notes: Note) -> set[str]:
        heard = worker("w2", last_seen=NOW - 2 * HOUR if silent else NOW)
        snapshot = evaluated(*told, config=config, workers=(worker(), heard))._replace(**notes)  # type: ignore[arg-type]
        files = rendered(snapshot)
        listed = "Offline: w2. The state of their mirrors" in page(files, "workers.html").text.replace(" .", ".")
        assert listed == silent
        return {path for path in files if path.endswith(".html") and 'aria-label="problem"' in files[path].decode()}

    assert marked(silent=False) == set()
    overviews, wrong = {"index.html", "workers.html"}, Note("It is wrong.", NOW)
    assert marked(silent=True) == marked(silent=False, refused=wrong) == marked(silent=False, unreachable=wrong)
    assert marked(silent=True) == overviews


def test_a_revision_is_called_newest_only_when_no_newer_one_can_exist() -> None:
    snapshot = evaluated(config=declared(mirror()), workers=(worker(),))
    shown = rendered(snapshot)["workers.html"].decode()
    assert "</code> newest</dd>" in shown
    for notes in ({"refused": Note("It is wrong.", NOW)}, {"unreachable": Note("It is gone.", NOW)}):
        other = rendered(snapshot._replace(**notes))["workers.html"].decode()  # type: ignore[arg-type]
        assert "</code> in use</dd>" in other and "</code> newest" not in other


def test_a_rejected_revision_and_an_unreachable_repository_are_shown_separately() -> None:
    refused, gone = Note("debian.yml is wrong.", NOW - 60, "c" * 40), Note("no route to host", NOW - HOUR)
    follows = worker("w2", revision=refused.revision)
    told = declared(mirror()), (worker(), follows)
    facts = Facts(1, told[1], {}, told[0], refused, frozenset({REVISION}), unreachable=gone)
    cases = ((refused, gone), (None, gone), (refused, None))
    for refusal, unreachable in cases:
        snapshot = Evaluator().evaluate(facts._replace(refused=refusal, unreachable=unreachable), NOW)
        files = rendered(snapshot)
        text = page(files, "workers.html").text
        stays = "Revision bbbbbbbbbb stays in use."
        away = f"The repository has been unreachable since 2027-01-15 07:00 . {stays} There may be a newer one. Reason:"
        assert (away in text) == ("no route to host" in text) == (unreachable is not None), text
        assert (f"Revision cccccccccc was rejected. {stays} Reason: debian.yml is wrong." in text) == (
            refusal is not None
        ), text
        assert ("cccccccccc rejected by the manager" in text) == (refusal is not None)
        assert "newest" not in text
        plain = json.loads(files["status.json"])
        assert plain["refusal"] == (refusal and refusal.reason)
        assert plain["refused_revision"] == (refusal and refusal.revision)
        assert plain["unreachable"] == (unreachable and {"since": NOW - HOUR, "reason": "no route to host"})
        standing = {each["name"]: each["standing"] for each in plain["workers"]}
        assert standing == {"w1": "current", "w2": "refused" if refusal else "other"}


def test_a_previous_address_has_a_copy_of_the_page_and_the_json_and_no_redirect() -> None:
    new = mirror("z++")._replace(title="C & C", formerly=("old", "debian"))
    config = declared(new, mirror())
    files = rendered(evaluated(("w1", status_of("old")), config=config), (PastRun("w2", run_of(1)),))
    assert ("link", {"rel": "canonical", "href": "z%2B%2B.html"}) in page(files, "mirrors/old.html").tags
    for suffix in ("html", "json"):
        assert files[f"mirrors/old.{suffix}"] == files[f"mirrors/z++.{suffix}"]
    assert not [path for path, file in files.items() if b"http-equiv" in file]
    plain = json.loads(files["mirrors/old.json"])
    assert (plain["name"], plain["formerly"], plain["last_success_at"]) == ("z++", ["old", "debian"], NOW)
    assert "C & C" not in page(files, "mirrors/debian.html").text, "another mirror has that name now"
    assert [item["name"] for item in json.loads(files["static/tunasync.json"])] == ["debian", "z++"]
    assert [item["name"] for item in json.loads(files["status.json"])["mirrors"]] == ["debian", "z++"]
    assert set(mirror_files(evaluated(config=config))) == {
        f"{name}.{suffix}" for name in ("debian", "old", "z++") for suffix in ("html", "json")
    }


def test_a_mirrors_page_shows_previous_names_and_the_worker_of_each_run() -> None:
    new = mirror("new")._replace(formerly=("old", "older"))
    snapshot = evaluated(("w1", status_of("new")), config=declared(new))
    text = page(rendered(snapshot, (PastRun("w1", run_of(2)), PastRun("w2", run_of(1)))), "mirrors/new.html").text
    assert "Previous names old , older" in text
    assert "Files Worker" in text
    alone = page(rendered(snapshot, (PastRun("w1", run_of(2)),)), "mirrors/new.html").text
    assert "Files Worker" not in alone


def landmarks(found: Page) -> list[tuple[str, str | None]]:
    """Return the named landmarks of a page: the role and the name of each."""
    kinds = {"section", "nav", "form", "main"}
    parts = [(str(attrs.get("role") or tag), attrs) for tag, attrs in found.tags if tag in kinds or attrs.get("role")]
    return [
        (kind, attrs.get("aria-labelledby") or attrs.get("aria-label"))
        for kind, attrs in parts
        if kind in {*kinds, "region", "search"}
    ]


def test_ids_and_landmarks_are_unique_and_only_elements_that_may_have_a_name_have_one() -> None:
    """Also if workers have the same names as parts of the pages."""
    run = run_of(2, "failed", reason="why", log_tail="log")
    names = ("w1", "main", "old", "configuration")
    told = {(name, "debian"): status_of(status="failed", run=run, is_master=name == "w1") for name in names}
    mirrors = [mirror(on=name)._replace(freshness=RULE) for name in names]
    facts = Facts(1, tuple(map(worker, names)), told, declared(*mirrors), Note("refused", NOW), frozenset())
    files = rendered(Evaluator().evaluate(facts, NOW), (PastRun("w1", run),))
    for path in ("index.html", "workers.html", "mirrors/debian.html"):
        found = page(files, path)
        ids = found.attributes("id")
        assert sorted(set(ids)) == sorted(ids), path
        named = landmarks(found)
        assert sorted(set(named), key=str) == sorted(named, key=str), path
        assert {name for _, attrs in found.tags for name in [attrs.get("aria-labelledby")] if name} <= set(ids)
        bare = {tag for tag, attrs in found.tags if "aria-label" in attrs and not attrs.get("role")}
        assert bare <= {"nav", "ul", "progress"}, path
        assert not [url for url in found.attributes("href") if set(url) & set(' <>"\\^`{|}')]
    links = [url.partition("#")[2] for url in page(files, "mirrors/debian.html").attributes("href") if "#worker" in url]
    assert set(links) == {f"worker-{name}" for name in names} <= set(page(files, "workers.html").attributes("id"))


def test_text_of_another_direction_is_isolated() -> None:
    """Text from outside is in `<bdi>`, without control characters that would affect the text after it."""
    turned = "\u202eEVIL\u2067 \u05d0"
    run = run_of(1, "failed", reason=turned, log_tail=turned)
    told = status_of(status="failed", run=run, upstream=turned, probe=PROBE._replace(problem=turned))
    odd = mirror()._replace(title=turned, description=turned, category=turned, freshness=RULE._replace(file=turned))
    config = declared(odd)
    site = config.site._replace(title=turned, description=turned, contact=turned, categories={turned: turned})
    config = config._replace(site=site, problems=(turned,))
    state = worker()._replace(version=turned, problems=(ReportedProblem("debian", turned, turned, turned),))
    note = Note(turned, NOW)
    facts = Facts(1, (state,), {("w1", "debian"): told}, config, note, frozenset(), unreachable=note)
    files = rendered(Evaluator().evaluate(facts, NOW), (PastRun("w1", run),))
    for path in ("index.html", "workers.html", "mirrors/debian.html"):
        text = files[path].decode()
        assert "\u202e" not in text
        assert "\u2067" not in text
        body = text.partition("<body")[2]
        isolated = body.count("<bdi>EVIL") + body.count("<option value=") + body.count(">EVIL \u05d0</pre>")
        written = [part for part in body.split(">") if part.lstrip().startswith("EVIL")]
        assert len(written) <= isolated, path


def test_an_invalid_address_becomes_a_valid_link() -> None:
    odd = mirror()._replace(homepage='https://example.org/a b<c>"%20\u00e9')
    text = rendered(evaluated(("w1", status_of()), config=declared(odd)))["mirrors/debian.html"].decode()
    assert 'href="https://example.org/a%20b%3Cc%3E%22%20%C3%A9"' in text


def test_meta_json_contains_the_time_revision_and_generator() -> None:
    plain = json.loads(rendered(evaluated(config=declared(mirror())))["meta.json"])
    assert (plain["generated_at"], plain["revision"], plain["generator"]) == (NOW, REVISION, GENERATOR)


def test_pages_and_documents_show_who_disabled_a_mirror_when_and_why() -> None:
    told = status_of(status="disabled", run=run_of(4, "stopped", ended_at=NOW, reason="disabled by alice: new disk"))
    told = told._replace(override=Override("disabled", NOW - HOUR, "alice", "new <disk>"))
    files = rendered(evaluated(("w1", told), config=declared(mirror())))
    words = "since 2027-01-15 07:00 by alice"
    assert (
        f"This mirror is disabled, {words} . Reason: new <disk> . No sync starts until an operator enables it again."
        in page(files, "mirrors/debian.html").text.replace("  ", " ")
    )
    assert f"disabled {words} : new <disk>" in page(files, "index.html").text
    shown = {"kind": "disabled", "since": NOW - HOUR, "by": "alice", "reason": "new <disk>"}
    for path in ("status.json", "mirrors/debian.json"):
        plain = json.loads(files[path])
        plain = plain["mirrors"][0] if "mirrors" in plain else plain
        assert (plain["override"], plain["copies"][0]["override"]) == (shown, shown)


def test_the_workers_page_shows_who_signed_and_what_a_worker_rejects() -> None:
    found = worker()._replace(rejected="d" * 40, signer=EVIL, signing_key="SHA256:abc")
    files = rendered(evaluated(("w1", status_of()), config=declared(mirror()), workers=(found, worker("w2"))))
    text = page(files, "workers.html").text
    assert "Rejected revision dddddddddd " in text
    assert "Signed by \"'><script>alert(1)</script>" in text and "SHA256:abc" in text
    assert text.count("Signed by") == text.count("Rejected") == 1
    first, second = json.loads(files["status.json"])["workers"]
    keys = ("rejected", "signer", "signing_key")
    assert [first[key] for key in keys] == ["d" * 40, EVIL, "SHA256:abc"]
    assert [second[key] for key in keys] == [None, None, None]


def test_the_workers_page_shows_until_when_and_why_a_worker_is_pinned() -> None:
    found = worker()._replace(pinned_until=NOW + HOUR, pinned_by="ada", pin_reason=EVIL)
    files = rendered(evaluated(("w1", status_of()), config=declared(mirror()), workers=(found, worker("w2"))))
    text = page(files, "workers.html").text
    assert text.count("Pinned until") == 1
    assert "by ada : \"'><script>alert(1)</script>" in text
    first, second = json.loads(files["status.json"])["workers"]
    keys = ("pinned_until", "pinned_by", "pin_reason")
    assert [first[key] for key in keys] == [NOW + HOUR, "ada", EVIL]
    assert [second[key] for key in keys] == [None, None, None]


def test_json_shows_that_a_mirrors_worker_is_held() -> None:
    files = rendered(evaluated(("w1", status_of()), config=declared(mirror()), workers=(worker()._replace(held=True),)))
    plain = json.loads(files["mirrors/debian.json"])
    assert (plain["held"], plain["copies"][0]["held"], plain["override"]) == (True, True, None)
    assert plain["copies"][0]["next_run_at"] is None, "no run is planned before a release"
    assert json.loads(files["static/tunasync.json"])[0]["next_schedule"] == "0001-01-01 00:00:00 +0000"


@pytest.mark.parametrize("status", ["paused", "disabled"])
def test_a_disabled_mirror_of_an_offline_worker_shows_both(status: str) -> None:
    told = status_of(status=status, last_success_at=NOW, override=Override(status, NOW, "ada"))
    for seen, verdict in ((NOW, "up to date"), (NOW - 2 * HOUR, "unknown")):
        heard = (worker(last_seen=seen),)
        text = page(
            rendered(evaluated(("w1", told), config=declared(mirror()), workers=heard)), "mirrors/debian.html"
        ).text
        assert f"{verdict} {status} This mirror is {status}, since 2027-01-15 08:00 by ada" in text
        assert ("is offline" in text) == (verdict == "unknown")


@pytest.mark.parametrize("status", ["paused", "disabled"])
@pytest.mark.parametrize("now", [NOW, NOW + 3 * DAY])
def test_a_disabled_mirror_is_shown_as_disabled_and_not_as_too_old(status: str, now: float) -> None:
    run = run_of(4, "stopped", ended_at=NOW, reason=f"{status} by alice")
    told = status_of(status=status, run=run, last_success_at=NOW - 60, next_run_at=None)
    seen = (worker(last_seen=now),)
    text = page(
        rendered(evaluated(("w1", told), config=declared(mirror()), workers=seen, now=now)), "mirrors/debian.html"
    ).text
    words = f"This mirror is {status}. Its last run was stopped 2027-01-15 08:00 : {status} by alice"
    assert words in text
    assert "too old" not in text


def test_names_of_the_sites_own_paths_are_those_that_validate_warns_of() -> None:
    files = rendered(evaluated(config=declared(mirror())))
    routes = re.findall(
        r"location ~ \^/\((.*?)\)", Path(__file__).parents[2].joinpath("docs/manager.md").read_text("utf-8")
    )
    assert {path.split("/")[0] for path in files} | set(routes[0].split("|")) == OF_THE_SITE
