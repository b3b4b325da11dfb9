"""The status site in a real browser, and its HTML by the rules of a real parser."""

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from schemas.report import Override, ReportedProblem
from schemas.states import DISABLED
from sitegen.messages.model import Facts, Note, PastRun
from sitegen.site import files
from sitegen.site.evaluate import Evaluator
from sitegen.site.pages import Pages
from tests.sitegen.kit import HOUR, run_of, status_of
from tests.sitegen.test_evaluate import RULE, declared, mirror, worker
from tests.system import browser
from tests.system.browser import Browser

LONG = "x" * 1200
TURNED = "\u202egnorw\u2067"
PAGES = ("index.html", "workers.html", "mirrors/debian.html", "mirrors/other.html")


class _Quiet(SimpleHTTPRequestHandler):
    """Serves files by a clock that can be wrong; with no clock it does not answer at all."""

    ahead: float | None = 0.0

    def send_head(self) -> Any:
        if self.ahead is None and "meta.json" in self.path:
            self.send_error(503)
            return None
        return super().send_head()

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string(time.time() + (self.ahead or 0.0) if timestamp is None else timestamp)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class Site:
    """A folder with a site, and its address."""

    def __init__(self, folder: Path, url: str, handler: type[_Quiet]) -> None:
        self.folder, self.url, self.handler = folder, url, handler

    def publish(self, now: float, word: str = "", status: str = "success", *names: str, held: bool = False) -> None:
        """Publish two mirrors, one of which failed, with `word` in every field that takes text."""
        run = run_of(2, "failed", ended_at=now - 60, reason=word or "it failed", log_tail=word or "the end")
        good = status_of(status=status, at=now - 60, upstream="rsync://up/" + word)
        if status == DISABLED:
            good = good._replace(override=Override(DISABLED, now - 60, "alice", word))
        bad = status_of("other", "failed", at=now - 60, run=run)
        evil = mirror()._replace(title=word, description=word, category="c", homepage="https://example.org/" + word)
        config = declared(evil._replace(freshness=RULE._replace(file=word or "f")), *map(mirror, ("other", *names)))
        site = config.site._replace(
            title=word or "Site",
            description=word,
            contact=word,
            url="https://example.org",
            categories={"c": word or "C"},
        )
        workers = {name: item._replace(description=word) for name, item in config.workers.items()}
        config = config._replace(site=site, workers=workers, problems=(word,) if word else ())
        problems = (ReportedProblem("debian", word, word, word),) if word else ()
        seen = worker(last_seen=now)._replace(version=word[:64] or "1", problems=problems, sent_at=now, held=held)
        statuses = {("w1", "debian"): good, ("w1", "other"): bad}
        statuses |= {("w1", name): status_of(name, at=now - 60) for name in names}
        snapshot = Evaluator().evaluate(
            Facts(1, (seen,), statuses, config, Note(word, now, word) if word else None, frozenset()), now
        )
        pages = Pages()
        own = pages.mirrors(snapshot, snapshot.mirrors, {view.name: (PastRun("w1", run),) for view in snapshot.mirrors})
        files.write(str(self.folder), own)
        files.write(str(self.folder), pages.overviews(snapshot))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    handler = type("Handler", (_Quiet,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Site(tmp_path, f"http://127.0.0.1:{server.server_port}", handler)
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def tab() -> Iterator[Browser]:
    with browser.opened() as found:
        yield found


@contextmanager
def _clock(tab: Browser, ahead: float) -> Iterator[None]:
    """Set the browser's clock ahead (seconds) in pages opened from now on."""
    tab.before_each_page(f"const real = Date.now; Date.now = () => real() + {ahead * 1000} + (window.later || 0);")
    yield


def _later(tab: Browser, site: Site, seconds: float) -> None:
    """Move the clocks of browser and server on by some seconds, and let the page refresh."""
    site.handler.ahead = None if site.handler.ahead is None else site.handler.ahead + seconds
    tab.read(f"window.later = (window.later || 0) + {seconds * 1000}")
    _notice(tab)


def _notice(tab: Browser) -> None:
    """Make the page refresh, as when the reader returns to the tab, and wait for its requests."""
    tab.read("window.before = performance.getEntriesByType('resource').length")
    tab.read("document.dispatchEvent(new Event('visibilitychange'))")
    tab.wait("performance.getEntriesByType('resource').length > window.before")
    tab.read("new Promise((done) => setTimeout(done, 300))")


@pytest.mark.parametrize("word", ["", LONG, TURNED, "<b>&\"'"])
def test_all_pages_are_valid_html(site: Site, word: str) -> None:
    site.publish(time.time(), word)
    check = (
        "import sys, html5lib\n"
        "for path in sys.argv[1:]:\n"
        "    html5lib.HTMLParser(strict=True).parse(open(path, encoding='utf-8').read())\n"
    )
    command = ["/usr/bin/python3", "-c", check, *(str(site.folder / page) for page in PAGES)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("width", [360, 730, 770, 1200])
def test_no_long_word_makes_a_page_wider_than_the_window(site: Site, tab: Browser, width: int, tmp_path: Path) -> None:
    site.publish(time.time(), LONG)
    tab.size(width)
    for page in PAGES:
        tab.go(f"{site.url}/{page}")
        assert tab.read("document.documentElement.scrollWidth") <= width, page
        tab.picture(tmp_path / f"{width}-{page.replace('/', '-')}.png")
    assert all(url.startswith((site.url, "data:", "about:")) for url in tab.requests)


@pytest.mark.parametrize("width", [360, 705, 720, 730, 767, 768, 800])
def test_a_mirror_that_is_switched_off_makes_no_page_wider_than_the_window(
    site: Site, tab: Browser, width: int
) -> None:
    """Ordinary words, and the widest row that the list has: at widths about the one from which it is a table."""
    site.publish(time.time(), "Operating systems", DISABLED, "linux-kernel-firmware-snapshots")
    tab.size(width)
    for page in PAGES:
        tab.go(f"{site.url}/{page}")
        assert tab.read("document.documentElement.scrollWidth") <= width, page


def test_a_page_of_a_killed_manager_turns_unknown_by_itself_and_shows_why(site: Site, tab: Browser) -> None:
    site.publish(time.time())
    with _clock(tab, 0):
        for page, before, after in (
            ("index.html", "up to date", "unknown"),
            ("mirrors/debian.html", "up to date", "unknown"),
            ("workers.html", "online", "unknown"),
        ):
            site.handler.ahead = 0.0
            tab.go(f"{site.url}/{page}")
            tab.wait("document.querySelector('footer .ago')")
            _notice(tab)
            assert before in tab.read("document.querySelector('.verdict').textContent")
            assert tab.read("document.getElementById('old').hidden")
            _later(tab, site, 5 * HOUR)
            tab.wait(f"document.querySelector('.verdict').textContent === {after!r}")
            assert "has not updated this site for 5 h" in tab.read("document.getElementById('old').textContent")
            assert tab.read("document.getElementById('old').hidden") is False


def test_no_badge_turns_with_a_wrong_browser_clock_or_without_an_answer(site: Site, tab: Browser) -> None:
    site.publish(time.time())
    with _clock(tab, 9 * HOUR):
        for ahead in (0.0, None):
            site.handler.ahead = ahead
            tab.go(f"{site.url}/index.html")
            tab.wait("document.querySelector('footer .ago')")
            _notice(tab)
            assert tab.read("document.querySelector('.verdict').textContent") == "up to date"
            assert tab.read("document.getElementById('old').hidden")


def test_an_update_in_place_keeps_search_filter_scroll_and_focus(site: Site, tab: Browser) -> None:
    names = [f"m{number}" for number in range(60)]
    site.publish(time.time() - 100, "", "success", *names)
    with _clock(tab, 0):
        tab.go(f"{site.url}/index.html")
        tab.read("document.querySelector('.counts .fresh button').click()")
        tab.read("document.querySelector('[name=q]').focus()")
        tab.press("m")
        tab.read("scrollTo(0, 150)")
        tab.wait("scrollY === 150 && document.querySelector('footer .ago')")
        tab.read("window.same = document.querySelector('[name=q]')")
        site.publish(time.time(), "", "success", *names, "m-new")
        _notice(tab)
        tab.wait("document.querySelector('[data-name=m-new]')")
        assert tab.read("document.activeElement === window.same && window.same.value") == "m"
        assert tab.read("document.querySelector('.counts .fresh button').getAttribute('aria-pressed')") == "true"
        assert tab.read("[...document.querySelectorAll('tbody tr')].filter((row) => !row.hidden).length") == 61
        assert tab.read("scrollY") == 150
        assert tab.read("document.getElementById('old').hidden")
        tab.read("document.querySelector('[data-name=m5] a').focus()")
        site.publish(time.time() + 1, "", "success", *names, "m-newer")
        _notice(tab)
        tab.wait("document.querySelector('[data-name=m-newer]')")
        assert tab.read("document.activeElement.textContent") == "m5"


def test_a_notice_above_the_list_is_updated_in_place(site: Site, tab: Browser) -> None:
    site.publish(time.time() - 100, held=True)
    with _clock(tab, 0):
        tab.go(f"{site.url}/index.html")
        tab.wait("document.querySelector('footer .ago')")
        tab.read("window.same = document.querySelector('[name=q]')")
        link = tab.read("document.querySelector('.notice a').getAttribute('href')")
        page, _, anchor = link.partition("#")
        assert f'id="{anchor}"' in (site.folder / page).read_text()
        site.publish(time.time())
        _notice(tab)
        tab.wait("!document.querySelector('.notice:not(#old)')")
        assert tab.read("document.querySelector('h1').textContent") == "Mirrors"
        assert tab.read("document.querySelector('[name=q]') === window.same")
        site.publish(time.time() + 1, held=True)
        _notice(tab)
        tab.wait("document.querySelector('.notice a')")
        assert tab.read("[...document.querySelectorAll('h1')].length") == 1


def test_a_tab_follows_publishings_of_the_same_second_and_of_a_clock_set_back(site: Site, tab: Browser) -> None:
    """Files of the same second and length have the same `Last-Modified`, so a cache cannot tell them apart."""
    began = float(int(time.time()) - 50)
    with _clock(tab, 0):
        for page in ("mirrors/debian.html", "index.html"):
            words = "document.querySelector('.run').textContent"
            site.publish(began + 0.1, "", "queued")
            tab.go(f"{site.url}/{page}")
            tab.wait("document.querySelector('footer .ago')")
            before = tab.read(words)
            site.publish(began + 0.6, "", "failed")
            for path in site.folder.rglob("*.html"):
                os.utime(path, (began, began))
            _notice(tab)
            tab.wait(f"{words} === 'failed'")
            assert before == "waiting for a slot"
            site.publish(began - HOUR, "", "success")
            _notice(tab)
            tab.wait(f"{words} === 'success'")


def test_categories_and_counts_are_updated_while_the_caret_stays(site: Site, tab: Browser) -> None:
    site.publish(time.time() - 100, "Cat")
    with _clock(tab, 0):
        tab.go(f"{site.url}/index.html")
        tab.wait("document.querySelector('footer .ago')")
        tab.read("document.querySelector('[name=q]').focus()")
        tab.press("deb")
        tab.read("document.querySelector('[name=q]').setSelectionRange(1, 2)")
        tab.read("document.querySelector('[name=category]').value = 'c'")
        site.publish(time.time(), "Dog")
        _notice(tab)
        tab.wait("document.querySelector('option[value=c]').textContent === 'Dog'")
        field = "document.querySelector('[name=q]')"
        assert tab.read(f"document.activeElement === {field} && {field}.value") == "deb"
        assert tab.read(f"[{field}.selectionStart, {field}.selectionEnd]") == [1, 2]
        assert tab.read("document.querySelector('[name=category]').value") == "c"
        words = "document.querySelector('.counts li').textContent"
        assert tab.read(words) == "2 mirrors"
        index = site.folder / "index.html"
        one = index.read_text().replace(" mirrors</li>", " mirror</li>")
        row = one[one.index('<tr data-name="other"') :].partition("</tr>")[0] + "</tr>"
        made = json.loads((site.folder / "meta.json").read_text())["generated_at"]
        index.write_text(one.replace(row, "").replace(str(made), str(made + 1)))
        meta = site.folder / "meta.json"
        meta.write_text(meta.read_text().replace(str(made), str(made + 1)))
        _notice(tab)
        tab.wait(f"{words} === '1 mirror'")


def test_selected_text_stays_until_the_selection_is_cleared(site: Site, tab: Browser) -> None:
    site.publish(time.time() - 100)
    with _clock(tab, 0):
        tab.go(f"{site.url}/index.html")
        tab.wait("document.querySelector('footer .ago')")
        _notice(tab)
        tab.read("getSelection().selectAllChildren(document.querySelector('[data-name=debian]'))")
        marked = tab.read("getSelection().toString()")
        site.publish(time.time(), "", "success", "new")
        _notice(tab)
        assert tab.read("document.querySelector('[data-name=new]')") is None
        assert tab.read("getSelection().toString()") == marked
        tab.read("getSelection().removeAllRanges()")
        tab.wait("document.querySelector('[data-name=new]')")
        tab.read("getSelection().selectAllChildren(document.querySelector('[data-name=debian]'))")
        site.publish(time.time() + HOUR, "", "success", "newer")
        _later(tab, site, HOUR)
        tab.wait("document.querySelector('[data-name=newer]')")


def test_an_offline_tab_shows_no_notice_about_the_site(site: Site, tab: Browser) -> None:
    site.publish(time.time())
    with _clock(tab, 0):
        tab.go(f"{site.url}/index.html")
        tab.wait("document.querySelector('footer .ago')")
        _notice(tab)
        _later(tab, site, HOUR)
        assert "for 1 h" in tab.read("document.getElementById('old').textContent")
        site.handler.ahead = None
        _later(tab, site, 50 * HOUR)
        assert tab.read("document.getElementById('old').hidden")


def test_a_removed_page_shows_that_it_was_removed_and_turns_unknown(site: Site, tab: Browser) -> None:
    site.publish(time.time() - 100)
    with _clock(tab, 0):
        tab.go(f"{site.url}/mirrors/debian.html")
        tab.wait("document.querySelector('footer .ago')")
        assert "up to date" in tab.read("document.querySelector('.verdict').textContent")
        _later(tab, site, 50 * HOUR)
        site.publish(time.time() + 50 * HOUR)
        (site.folder / "mirrors/debian.html").unlink()
        _notice(tab)
        tab.wait("!document.getElementById('old').hidden")
        assert "no longer part of the site" in tab.read("document.getElementById('old').textContent")
        assert tab.read("document.querySelector('.verdict').textContent") == "unknown"


def test_back_restores_the_filter_and_applies_it(site: Site, tab: Browser) -> None:
    site.publish(time.time())
    tab.go(f"{site.url}/index.html")
    tab.read("document.querySelector('[name=q]').focus()")
    tab.press("oth")
    tab.read("document.querySelector('.counts .unknown button').click()")
    tab.go(f"{site.url}/workers.html")
    tab.read("history.back()")
    tab.wait("document.querySelector('.counts button') && document.readyState === 'complete'")
    shown = "[...document.querySelectorAll('tbody tr')].filter((row) => !row.hidden).map((row) => row.dataset.name)"
    tab.wait(f"document.querySelector('[name=q]').value === 'oth' && {shown}.length < 2")
    assert tab.read(shown) == ["other"]
    pressed = tab.read("document.querySelector('.counts [aria-pressed=true]').parentNode.dataset.show")
    assert pressed == "unknown"


def test_pages_are_complete_without_scripts(site: Site, tab: Browser) -> None:
    site.publish(time.time())
    tab.scripts(on=False)
    tab.go(f"{site.url}/index.html")
    assert json.loads((site.folder / "meta.json").read_bytes()).keys() >= {"generated_at", "generator"}
    assert tab.read("[...document.querySelectorAll('.mirrors .verdict')].map((each) => each.textContent)") == [
        "up to date", "unknown"
    ]  # fmt: skip
