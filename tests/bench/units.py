"""How fast units of systemd follow each other: 100 due mirrors from tick to running, a freed slot to its next run.

In a box with a real systemd, installed as users have it; needs root. The baselines are units of the same box: plain
ones, and ones in the sandbox of a run in which a Python does nothing, which no run can be faster than.
"""

import json
import os
import statistics
from functools import partial
from pathlib import Path

from tests.system.box import Box, wait_until
from tests.system.conftest import make_installed
from tests.system.site import Site

DUE, ROUNDS, SLOTS = 100, 15, 2
WAITS = "provider: command\nupstream: x\ncommand: sh -c 'until [ -e go ]; do sleep 1; done; rm go'\n"
_NOTHING = "import sys,time; open(sys.argv[1], 'w').close(); time.sleep(3600)"
_TIMERS = ("skipjack-tick.timer", "skipjack-tick.path", "skipjack-follow.timer")

_STARTS = """
import json, sqlite3
db = sqlite3.connect("/var/lib/skipjack/journal.db")
rows = db.execute("SELECT mirror, status, started_at, ended_at FROM run ORDER BY id")
print(json.dumps([list(row) for row in rows]))
"""


def measure(folder: Path) -> None:
    """Print the figures."""
    if os.geteuid() != 0:
        print("units of systemd: not measured, since a box needs root")
        return
    folder.mkdir(parents=True)
    with Box(make_installed(folder)) as box:
        site = Site(box)
        site.prepare()
        _many_at_once(site)
        _slot_after_slot(site)


def _many_at_once(site: Site) -> None:
    """From one tick that finds them due until each has begun its attempt."""
    plain = _plain_units(site.box)
    site.install(quick=False)
    sandboxed = _sandboxed_units(site.box)
    workers = f"workers:\n  w1: {{slots: {DUE}}}\n"
    site.box.do("systemctl", "stop", *_TIMERS)
    site.commit({"_workers.yml": workers} | {f"due-{number}.yml": WAITS for number in range(DUE)})
    site.box.do("systemctl", "start", "skipjack-follow.service")
    site.box.shell("rm -f /var/lib/skipjack/wishes/tick /var/lib/skipjack/wishes/start")
    began = float(site.box.shell("date +%s.%N; systemctl start skipjack-tick.service"))
    try:
        wait_until(lambda: _logs(site) == DUE, "all have a log", 120)
        wait_until(lambda: len(_runs(site, "syncing")) == DUE, "all are being synced", 120)
    except TimeoutError as error:
        raise TimeoutError(f"{error}; {_runs(site)}\n{site.lines()}") from error
    took = max(begun for _mirror, _status, begun, _ended in _runs(site, "syncing")) - began
    print(f"{DUE} due mirrors, from tick to running: {took:.2f} s")
    print(
        f"  beside as many Pythons that do nothing in the same sandbox {sandboxed:.2f} s, ratio {took / sandboxed:.2f}"
    )
    print(f"  beside as many plain units {plain:.2f} s, ratio {took / plain:.2f}")
    site.box.do("systemctl", "stop", "skipjack-run@*.service")


def _logs(site: Site) -> int:
    """How many mirrors have a log, seen from outside: asking the box would take a good part of what is measured."""
    return sum(1 for _log in site.box.path("/var/log/skipjack").glob("due-*/latest"))


def _plain_units(box: Box) -> float:
    """Seconds until as many units that do nothing are active."""
    box.write("/etc/systemd/system/box-plain@.service", "[Service]\nType=exec\nExecStart=/bin/sleep infinity\n")
    names = " ".join(f"box-plain@{number}.service" for number in range(DUE))
    box.do("systemctl", "daemon-reload")
    began, ended = map(float, box.shell(f"date +%s.%N; systemctl start {names}; date +%s.%N", timeout=120).split())
    box.do("systemctl", "stop", "box-plain@*.service")
    return ended - began


def _sandboxed_units(box: Box) -> float:
    """Seconds until as many units with the sandbox of a run have a Python at work that has nothing to do."""
    marks = "/var/lib/skipjack/marks"
    box.do("install", "--directory", "--owner=skipjack", marks)
    path = "/etc/systemd/system/skipjack-run@.service"
    kept = (
        line for line in box.path(path).read_text().splitlines() if not line.startswith(("ExecStart=", "OnFailure="))
    )
    start = f'ExecStart=/opt/skipjack/bin/python -I -S -c "{_NOTHING}" {marks}/%i'
    box.write("/etc/systemd/system/box-nothing@.service", "\n".join(kept) + f"\n[Service]\n{start}\n")
    names = " ".join(f"box-nothing@{number}.service" for number in range(DUE))
    box.do("systemctl", "daemon-reload")
    began = float(box.shell(f"date +%s.%N; systemctl start --no-block {names}", timeout=120))
    wait_until(lambda: len(list(box.path(marks).iterdir())) == DUE, "all Pythons are at work", 120)
    took = max(mark.stat().st_mtime for mark in box.path(marks).iterdir()) - began
    box.do("systemctl", "stop", "box-nothing@*.service", timeout=120)
    box.do("rm", "-r", marks)
    return took


def _slot_after_slot(site: Site) -> None:
    """From the end of a run, as the journal has it, to the start of the one that waited for its slot."""
    changes: dict[str, str | None] = {f"due-{number}.yml": None for number in range(SLOTS + ROUNDS, DUE)}
    site.commit(changes | {"_workers.yml": f"workers:\n  w1: {{slots: {SLOTS}}}\n"})
    site.box.do("systemctl", "start", "skipjack-follow.service")
    site.box.do("systemctl", "start", *_TIMERS[1:2])
    known = len(_runs(site))
    site.box.do("/opt/skipjack/bin/skipjack", "start", *(f"due-{number}" for number in range(SLOTS + ROUNDS)))
    for done in range(ROUNDS):
        wait_until(lambda: len(_runs(site, "syncing")) == SLOTS, "the slots are full", 60)
        running = _runs(site, "syncing")[0][0]
        site.box.do("touch", f"/srv/mirror/{running}/go")
        wait_until(partial(_have_begun, site, known + SLOTS + done + 1), "the next one begins", 60)
    ends = sorted(ended for _mirror, status, _begun, ended in _runs(site)[known:] if status == "success")
    starts = sorted(begun for _mirror, _status, begun, _ended in _runs(site)[known:] if begun)[SLOTS:]
    delays = [begun - ended for begun, ended in zip(starts, ends, strict=False)]
    plain = statistics.median(_plain_start(site.box) for _ in range(ROUNDS))
    median, worst = statistics.median(delays), max(delays)
    print(f"a freed slot until its next run: median {median * 1000:.0f} ms, worst of {len(delays)}", end=" ")
    print(f"{worst * 1000:.0f} ms; one plain unit {plain * 1000:.0f} ms, ratio {median / plain:.1f}")


def _have_begun(site: Site, count: int) -> bool:
    return sum(1 for _mirror, _status, begun, _ended in _runs(site) if begun) >= count


def _plain_start(box: Box) -> float:
    """Seconds that a unit takes that ends at once."""
    words = "date +%s.%N; systemd-run --quiet --collect --wait /bin/true; date +%s.%N"
    began, ended = map(float, box.shell(words).split())
    return ended - began


def _runs(site: Site, status: str = "") -> list[tuple[str, str, float, float]]:
    """The mirror, status, start and end of each run so far, or of those with a status."""
    rows = json.loads(site.box.do("/opt/skipjack/bin/python", "-c", _STARTS, user="skipjack"))
    return [tuple(row) for row in rows if status in ("", row[1])]
