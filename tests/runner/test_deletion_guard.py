"""The deletion guard of the rsync providers, with real rsyncs and a real daemon."""

import contextlib
import os
import shutil
import signal
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.hooks import trace
from runner.journal.last_success import Past
from runner.plan.deletion_limits import Tree
from runner.plugin_api import Job
from runner.providers import deletion_guard, deletion_judgement, deletion_names, deletions
from runner.providers.deletion_names import Item, Names, decoded, shown
from runner.subprocesses import supervisor
from tests import prepared
from tests.cases import crossed, some
from tests.e2e.parts import RsyncDaemon, wait_until

from .syncing import Site, grow, tree

PROVIDERS = ("rsync", "two-stage-rsync")
ACCEPT = "If that is right, run `skipjack run m --max-delete 100%`"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Return a synced mirror of 20 files and 4 directories."""
    module = tmp_path / "upstream"
    upstream = module / "below"
    grow(upstream, {f"folder-{number % 4}/{number}": "x" * number for number in range(20)})
    with RsyncDaemon(tmp_path / "daemon", {"files": module}) as daemon:
        made = Site(tmp_path, daemon.url("files/below"))
        assert made.sync().status == "success"
        yield made


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path)


def lose(site: Site, count: int) -> None:
    for number in range(count):
        (site.upstream / f"folder-{number % 4}/{number}").unlink()


@pytest.mark.parametrize("provider", PROVIDERS)
def test_after_few_deletions_the_tree_is_that_of_plain_rsync(site: Site, provider: str) -> None:
    lose(site, 8)
    shutil.rmtree(site.upstream / "folder-3")
    grow(site.upstream, {"new/file": "x" * 1000, "folder-0/4": "changed"})
    expected = site.plain()

    ending = site.sync(provider=provider, max_delete="60%")

    assert (ending.status, ending.reason, ending.exit_code) == ("success", "", 0)
    assert tree(site.directory) == expected
    log = site.log.read_text()
    assert "skipjack: deletes 10 files (69 B) and 1 directories\n" in log
    assert "*deleting   folder-3/\n*deleting   folder-3/7\n" in log
    assert not [word for word in ("delete_in_dir", "delete_item", "max-delete", "error") if word in log]
    assert ending.size == sum(path.stat().st_size for path in site.directory.rglob("*") if path.is_file())


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_share_also_applies_to_a_small_mirror(site: Site, provider: str) -> None:
    before = tree(site.directory)
    lose(site, 3)

    refused = site.sync(provider=provider, max_delete="10%")

    assert refused.status == "refused"
    assert refused.reason == f"3 of 20 files (3 B) would be deleted; `max_delete: 10%` allows 2. {ACCEPT}"
    assert tree(site.directory).keys() == before.keys()
    assert "*would delete   folder-0/0\n" in site.log.read_text()
    assert site.sync(provider=provider, max_delete="10%", max_delete_floor=3).status == "success"
    assert len([path for path in site.directory.rglob("*") if path.is_file()]) == 17


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_floor_does_not_let_one_new_file_replace_all_old_ones(site: Site, provider: str) -> None:
    before = tree(site.directory).keys()
    past = Past(success_at=time.time(), files=20, bytes=190)
    shutil.move(site.upstream, site.upstream.with_name("old"))
    grow(site.upstream, {"only": "new"})

    for _time in range(2):
        job = site.job(provider=provider, max_delete="10%", max_delete_floor=100)
        job.past = past
        refused = site.run(job)
        assert refused.status == "refused"
        assert "`max_delete_floor: 100` allow 19" in refused.reason
        assert tree(site.directory).keys() >= before


def test_bytes_are_limited_and_hard_links_count_with_the_last_one(site: Site) -> None:
    grow(site.upstream, {"big": "x" * 5000})
    os.link(site.upstream / "big", site.upstream / "other")
    site.sync()

    (site.upstream / "big").unlink()
    assert site.sync(max_delete_bytes=100).status == "success"
    (site.upstream / "other").unlink()
    refused = site.sync(max_delete_bytes=4999)

    expected = f"1 of 21 files (4.88 KiB) would be deleted; `max_delete_bytes` allows 4.88 KiB. {ACCEPT}"
    assert (refused.status, refused.reason) == ("refused", expected)
    assert site.sync(max_delete_bytes=5000).status == "success"
    assert not (site.directory / "other").exists()


@pytest.mark.parametrize(
    ("provider", "limits"),
    crossed(PROVIDERS, [{}, {"max_delete": "100%"}, {"max_delete": 1000}, {"max_delete_floor": 1000}], every=2),
)
def test_an_upstream_that_lists_no_files_is_refused_until_the_operator_accepts_it(
    site: Site, provider: str, limits: dict[str, Any]
) -> None:
    before = tree(site.directory)
    empty(site.upstream)

    for _time in range(2):
        refused = site.sync(provider=provider, **limits)
        assert refused.status == "refused"
        assert refused.reason == f"the upstream lists no files: 20 of 20 files (190 B) would be deleted. {ACCEPT}"
        assert tree(site.directory).keys() == before.keys()

    accepted = site.job("100%", provider=provider, **limits)
    assert site.run(accepted).status == "success"
    assert list(site.directory.iterdir()) == []
    assert accepted.contents == Tree(0, 0)


def test_an_empty_upstream_of_an_empty_mirror_is_refused_unless_it_was_accepted(site: Site) -> None:
    empty(site.upstream)
    empty(site.directory)

    assert site.sync().reason == f"the upstream lists no files. {ACCEPT}"
    accepted = site.job()
    accepted.past = Past(files=0, bytes=0)
    assert site.run(accepted).status == "success"


def test_files_fetched_by_a_refused_run_hide_no_loss(site: Site) -> None:
    shutil.move(site.upstream, site.upstream.with_name("old"))
    grow(site.upstream, {f"other/{number}": "x" for number in range(100)})

    for _time in range(2):
        job = site.job()
        job.past = Past(success_at=time.time(), files=20, bytes=190)
        refused = site.run(job)
        assert refused.status == "refused"
        assert refused.reason == f"20 of 20 files (190 B) would be deleted; `max_delete: 50%` allows 10. {ACCEPT}"


def test_a_share_applies_to_the_files_of_the_last_accepted_success(site: Site) -> None:
    lose(site, 18)
    assert site.sync("100%").status == "success"
    grow(site.upstream, {f"new/{number}": "x" for number in range(100)})
    assert site.sync().status == "success"  # in place of runs that were cut off, which leave `past` as it is
    for number in range(3):
        (site.upstream / f"new/{number}").unlink()

    job = site.job(max_delete="10%")
    job.past = Past(success_at=time.time(), files=2, bytes=37)
    assert site.run(job).reason == f"3 files (3 B) would be deleted; `max_delete: 10%` allows 0 of 2. {ACCEPT}"
    job = site.job(max_delete="100%")
    job.past = Past(success_at=time.time(), files=2, bytes=37)
    assert site.run(job).status == "success"


@pytest.mark.parametrize(("provider", "expected"), [("rsync", 1), ("two-stage-rsync", 2)])
def test_the_upstream_lists_its_files_as_often_as_for_plain_rsync(site: Site, provider: str, expected: int) -> None:
    lose(site, 5)
    before = site.listings()

    assert site.sync(provider=provider).status == "success"

    assert site.listings() - before == expected
    assert len([path for path in site.directory.rglob("*") if path.is_file()]) == 15


def test_an_upstream_that_becomes_empty_after_the_listing_costs_no_files(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only files that were judged are deleted, also if the upstream lists other files later."""
    lose(site, 2)
    judge = deletion_judgement.judge

    def slow_judge(*words: Any) -> deletion_judgement.Judged:
        empty(site.upstream)
        return judge(*words)

    monkeypatch.setattr(deletion_judgement, "judge", slow_judge)

    assert site.sync().status == "success"
    assert len([path for path in site.directory.rglob("*") if path.is_file()]) == 18


HOSTILE = [
    b"new\nline", b"back\\slash", b"\\#012", b"\\#999", b"\xff\xfe", " ü 漢字".encode(), b" leading", b"trailing ",
    b"#comment", b";comment", b"-dash", b"--delete", b"delete_item(folder-1) mode=40755 flags=2",
    b"delete_item(folder-1/1) mode=100644 flags=2\n", b"x\ndelete_item(folder-1/1) mode=100644 flags=2\n",
    b"Number of files: 9,999 (reg: 9,999)", b"Deletions stopped due to --max-delete limit (0 skipped)",
    b"\r  1,234  50%    1.00kB/s    0:00:00", b"tab\there", b"a) mode=100644 flags=2", b"*", b"?", b"[a]",
    b"e\x1b[31m", b"\x7f", b"IO error encountered -- skipping file deletion", b"~", b"...", b"x" * 255,
]  # fmt: skip


@pytest.mark.parametrize("provider", PROVIDERS)
def test_hostile_names_are_deleted_and_cannot_forge_output(site: Site, provider: str) -> None:
    root = os.fsencode(site.upstream)
    for name in HOSTILE:
        for folder in (b"/", b"/hostile\n\\#040\xff/"):
            grow(Path(os.fsdecode(root + folder)), {os.fsdecode(name): "x"})
    assert site.sync(provider=provider).status == "success"
    assert tree(site.directory) == tree(site.upstream)
    for name in HOSTILE[::2]:
        Path(os.fsdecode(root + b"/" + name)).unlink()
    expected = site.plain()
    assert site.sync(provider=provider).status == "success"
    assert tree(site.directory) == expected
    shutil.rmtree(root + b"/hostile\n\\#040\xff")
    expected = site.plain()

    assert site.sync(provider=provider, max_delete="70%").status == "success"

    assert tree(site.directory) == expected


def become_file(path: Path) -> None:
    path.write_text("now a file")


def become_link(path: Path) -> None:
    path.symlink_to("folder-2")


def become_folder(path: Path) -> None:
    grow(path, {"in/side": "new"})


def become_empty_folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("what", "becomes", "provider"),
    crossed(
        ["folder-1", "deep/folder", "deep/empty", "file", "deep/link"],
        [become_file, become_link, become_folder, become_empty_folder],
        PROVIDERS,
        every=2,
    ),
)
def test_an_item_that_becomes_another_type_is_replaced_in_one_run(
    site: Site, provider: str, becomes: Callable[[Path], None], what: str
) -> None:
    more = {"deep/folder/in/x": "x", "deep/folder/y": "y", "deep/empty/": "", "file": "f", "deep/link": "-> folder"}
    grow(site.upstream, more | {"deep/z": "z"})
    assert site.sync(provider=provider).status == "success"
    before = site.listings()
    place = site.upstream / what
    shutil.rmtree(place) if place.is_dir() and not place.is_symlink() else place.unlink()
    becomes(place)
    lose(site, 1)
    expected = site.plain()
    plain = site.listings() - before

    ending = site.sync(provider=provider)

    assert (ending.status, ending.reason) == ("success", "")
    assert tree(site.directory) == expected
    assert "error" not in site.log.read_text()
    extra = what in ("folder-1", "deep/folder") and becomes in (become_file, become_link)
    assert site.listings() - before - plain == (1 if provider == "rsync" else 2) + extra


def test_files_below_a_directory_that_becomes_a_file_count_as_deletions(site: Site) -> None:
    shutil.rmtree(site.upstream / "folder-1")
    (site.upstream / "folder-1").write_text("now a file")

    refused = site.sync(max_delete=4)

    assert refused.status == "refused"
    assert refused.reason.startswith("5 of 20 files (45 B) would be deleted; `max_delete: 4` allows 4.")
    assert len(list((site.directory / "folder-1").iterdir())) == 5
    assert site.sync(max_delete=5).status == "success"
    assert (site.directory / "folder-1").read_text() == "now a file"


def test_protected_and_excluded_files_stay(site: Site) -> None:
    grow(site.directory, {"project/trace/mirror.example": "ours", "local/file": "ours", "kept/by-rule": "ours"})
    options = ("--exclude=/local/", "--filter=protect /kept/***")
    (site.upstream / "folder-3/3").unlink()

    assert site.sync(trace="mirror.example", rsync_options=options).status == "success"

    kept = {str(path.relative_to(site.directory)) for path in site.directory.rglob("*") if path.is_file()}
    assert kept >= {"project/trace/mirror.example", "local/file", "kept/by-rule"}
    assert "folder-3/3" not in kept


def test_a_directory_with_protected_files_that_becomes_a_file_is_a_failure_that_names_it(site: Site) -> None:
    grow(site.directory, {"folder-1/local": "ours"})
    shutil.rmtree(site.upstream / "folder-1")
    (site.upstream / "folder-1").write_text("now a file")

    failed = site.sync(rsync_options=("--filter=protect local",))

    assert (failed.status, failed.exit_code) == ("failed", 23)
    assert failed.reason == (
        "`folder-1` is a directory with protected files here, and of another type at the upstream."
        " Remove `folder-1/local`, or the filter that protects it"
    )
    assert "could not make way for new regular file: folder-1\n" in site.log.read_text()
    assert [path.name for path in (site.directory / "folder-1").iterdir()] == ["local"]


HOST = "mirror.example"
TRACE = f"project/trace/{HOST}"


def traced(site: Site, named: str | None = None, **fields: Any) -> Job:
    """Sync once with the trace hook, check that it succeeds, and return the job."""
    job = site.job(named, trace=HOST, **fields)
    ending = site.run(job, hooks=(trace,))
    assert (ending.status, ending.reason) == ("success", ""), site.log.read_text()
    return job


@pytest.mark.parametrize(
    ("place", "named", "becomes", "provider"),
    crossed(["project", "project/trace"], [None, "100%"], [become_file, become_link], PROVIDERS, every=2),
)
def test_a_folder_of_the_trace_is_replaced_by_a_file_or_a_link_of_the_upstream(
    site: Site, provider: str, becomes: Callable[[Path], None], place: str, named: str | None
) -> None:
    grow(site.upstream, {"project/trace/master": "m", "project/trace/in/x": "x", "project/other": "o"})
    assert traced(site, provider=provider).complaints == []
    assert (site.directory / TRACE).is_file()
    shutil.rmtree(site.upstream / place)
    becomes(site.upstream / place)
    lose(site, 3)

    for _time in range(2):
        job = traced(site, named, provider=provider)
        # The hook itself changes the time of the mirror's top.
        assert {**tree(site.directory), ".": None} == {**tree(site.upstream), ".": None}
        what = "a file" if becomes is become_file else "a link"
        assert job.complaints == [
            f"cannot write the trace `{TRACE}`: the upstream has {what} `{place}` in its way."
            " Remove `trace:` from the definition, or ask the upstream to remove it"
        ]

    (site.upstream / place).unlink()
    grow(site.upstream, {"project/trace/master": "m"})
    assert traced(site, provider=provider).complaints == []
    assert (site.directory / TRACE).is_file()


def test_other_files_in_a_folder_of_the_trace_count_when_it_is_replaced(site: Site) -> None:
    grow(site.upstream, {f"project/trace/{number}": "x" for number in range(5)})
    traced(site)
    shutil.rmtree(site.upstream / "project")
    become_file(site.upstream / "project")

    refused = site.run(site.job(trace=HOST, max_delete=4), hooks=(trace,))

    assert refused.reason.startswith("5 of 25 files (5 B) would be deleted; `max_delete: 4` allows 4.")
    assert (site.directory / TRACE).is_file()
    traced(site, max_delete=5)
    assert (site.directory / "project").read_text() == "now a file"


def test_a_filter_that_protects_a_folder_of_the_trace_is_named(site: Site) -> None:
    traced(site)
    grow(site.directory, {"project/trace/local": "ours"})
    become_file(site.upstream / "project")
    lose(site, 3)

    failed = site.run(site.job(trace=HOST, rsync_options=("--filter=protect local",)), hooks=(trace,))

    assert (failed.status, failed.exit_code) == ("failed", 23)
    assert failed.reason == (
        "`project` is a directory with protected files here, and of another type at the upstream."
        " Remove `project/trace/local`, or the filter that protects it"
    )
    assert not (site.directory / "folder-0/0").exists(), "everything else is deleted"


@pytest.mark.parametrize("path", [TRACE, f"Archive-Update-in-Progress-{HOST}"])
def test_a_directory_of_the_upstream_in_the_place_of_the_trace_is_mirrored(site: Site, path: str) -> None:
    traced(site)
    grow(site.upstream, {f"{path}/x": "x"})

    traced(site)  # at its beginning nothing is in the way of the second file yet
    job = traced(site)
    assert (site.directory / path / "x").is_file()
    assert not list(site.directory.rglob("*.new"))
    assert job.complaints == [
        f"cannot write the trace `{path}`: the upstream has a directory `{path}` in its way."
        " Remove `trace:` from the definition, or ask the upstream to remove it"
    ]
    shutil.rmtree(site.upstream / path)
    become_file(site.upstream / path)
    traced(site)
    assert not (site.directory / path).is_dir()
    assert (site.directory / TRACE).is_file()


@pytest.mark.parametrize("more", [{}, {"project/trace/master": "m"}])
def test_the_trace_stays_without_a_filter(site: Site, more: dict[str, str]) -> None:
    """`rsync_override_only` leaves out the filters that protect it; rsync names it then, but Skipjack keeps it."""
    grow(site.upstream, more)
    alone: dict[str, Any] = {"rsync_override": ("-a", "--delete"), "rsync_override_only": True}
    traced(site, **alone)
    lose(site, 2)

    job = traced(site, max_delete=2, **alone)

    assert job.complaints == []
    log = site.log.read_text()
    assert (site.directory / TRACE).is_file() and "*deleting   folder-0/0\n" in log
    assert "deleting   project" not in log and "skipjack: deletes 2 files (1 B) and 0 directories\n" in log


def test_a_server_that_names_the_trace_cannot_delete_it(site: Site, tmp_path: Path) -> None:
    traced(site)
    names = "".join(f'echo "delete_item({path}) mode=100644 flags=2";' for path in (TRACE, "folder-1/1"))
    lying = program(
        tmp_path, f'case "$*" in *--max-delete=0*) {names} rsync "$@" && {{ echo "{LIMIT}" >&2; exit 25; }};; esac'
    )

    traced(site, command=lying)

    assert (site.directory / TRACE).is_file() and not (site.directory / "folder-1/1").exists()


LIMIT = "Deletions stopped due to --max-delete limit (2 skipped)"


def test_an_unreadable_directory_of_the_upstream_deletes_nothing(site: Site) -> None:
    """A daemon without permission to read a directory lists it as empty, with an error."""
    lose(site, 4)
    before = tree(site.directory).keys()
    config = site.daemon_log.with_name("rsyncd.conf")
    module = site.upstream.parent
    for path in (module, *module.rglob("*")):
        os.chown(path, 12345, 12345)
    (site.upstream / "folder-1").chmod(0)
    config.write_text(config.read_text().replace("uid = 0\ngid = 0", "uid = 12345\ngid = 12345"))

    for codes in ((), (23,)):
        ending = site.sync(rsync_success_exit_codes=codes)
        assert (ending.status, ending.exit_code) == ("success" if codes else "failed", 23)
        assert tree(site.directory).keys() == before


def test_a_stop_while_deleting_is_an_interruption_and_the_next_run_deletes_the_rest(site: Site) -> None:
    lose(site, 9)
    job, stop = site.job(), supervisor.Stop()

    calls = iter([False, True])
    job.limits = job.limits._replace(most="100%")
    original = deletion_judgement.judge

    def judged(each: Any, *words: Any) -> deletion_judgement.Judged:
        found = original(each, *words)
        each.stopped = lambda: next(calls, True)
        stop.signal = 15
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deletions, "_STOP_EVERY", 4)
        patch.setattr(deletion_judgement, "judge", judged)
        ending = site.run(job, stop)

    assert ending.status == "interrupted"
    assert 11 < len([path for path in site.directory.rglob("*") if path.is_file()]) < 20
    assert site.sync().status == "success"
    assert tree(site.directory) == tree(site.upstream)


@pytest.mark.parametrize("stride", some([3, 1], every=2))
def test_a_run_killed_at_any_step_is_completed_by_the_next_one(site: Site, tmp_path: Path, stride: int) -> None:
    shutil.rmtree(site.upstream / "folder-3")
    (site.upstream / "folder-1/1").unlink()
    shutil.rmtree(site.upstream / "folder-2")
    (site.upstream / "folder-2").write_text("now a file")
    grow(site.upstream, {"new/file": "x"})
    before = tmp_path / "before"
    shutil.copytree(site.directory, before, symlinks=True)
    expected = site.plain()
    steps = 0
    while True:
        shutil.rmtree(site.directory)
        shutil.copytree(before, site.directory, symlinks=True)
        words = [sys.executable, "-m", "tests.runner.killed_sync", str(tmp_path), site.url, str(steps)]
        with prepared.popen(words) as run:
            code = run.wait(300)
        if code == 0:
            break
        assert code == -signal.SIGKILL
        assert site.sync(max_delete="100%").status == "success"
        assert tree(site.directory) == expected, f"killed at step {steps}"
        steps += stride
    assert steps > 20
    assert tree(site.directory) == expected


def test_an_rsync_that_does_not_know_the_options_runs_without_them_and_logs_it(site: Site, tmp_path: Path) -> None:
    refuses = '--info=*|--debug=*) echo "$word: unknown option" >&2; exit 1;;'
    old = program(tmp_path, f'for word; do case "$word" in {refuses} esac; done')
    lose(site, 3)

    job = site.job(command=old)
    ending = site.run(job)

    assert ending.status == "success"
    assert not job.deletions_judged
    assert tree(site.directory) == tree(site.upstream)
    assert "does not know the options of rsync 3.1, so this run has no guard before deletions" in site.log.read_text()


def test_a_program_that_accepts_none_of_our_options_is_not_guarded(site: Site, tmp_path: Path) -> None:
    own = program(tmp_path, f"exec rsync -a --delete {site.url} {site.directory}/")
    lose(site, 3)

    job = site.job(command=own)
    ending = site.run(job)

    assert ending.status == "success"
    assert not job.deletions_judged
    assert tree(site.directory).keys() == tree(site.upstream).keys()


def program(folder: Path, text: str) -> str:
    path = folder / "program"
    path.write_text(f'#!/bin/sh\n{text}\nexec rsync "$@"\n')
    path.chmod(0o755)
    return str(path)


def test_a_usage_error_of_the_definition_does_not_switch_the_guard_off(site: Site) -> None:
    lose(site, 19)
    before = site.listings()

    failed = site.sync(rsync_options=("--no-such-option",))

    assert (failed.status, failed.exit_code) == ("failed", 1)
    assert site.listings() == before
    assert len([path for path in site.directory.rglob("*") if path.is_file()]) == 20


def test_an_upstream_cannot_switch_the_guard_off(site: Site, tmp_path: Path) -> None:
    """A server can end a client with any exit code and any message."""
    lie = 'echo "--debug=del2: unknown option" >&2; exit 1'
    lying = program(tmp_path, f'case "$*" in *--version*) exec rsync "$@";; *--max-delete=0*) {lie};; esac')
    empty(site.upstream)

    failed = site.sync(command=lying)

    assert (failed.status, failed.exit_code) == ("failed", 1)
    assert len([path for path in site.directory.rglob("*") if path.is_file()]) == 20


@pytest.mark.parametrize(
    "fields",
    [
        {"rsync_override": ("-a", "--delete"), "rsync_override_only": True},
        {"rsync_override": ("-a", "--delete")},
        {"rsync_options": ("--max-delete=1000", "-vv", "--info=name2,skip2", "--out-format=%n", "-q", "-i")},
        {"rsync_override": ("-rltvvi", "--del", "-M--max-delete=5"), "rsync_override_only": True},
        {"rsync_override": ("-a", "--delete-excluded", "--delete-delay")},
    ],
    ids=str,
)
def test_no_options_bypass_the_guard(site: Site, fields: dict[str, Any]) -> None:
    for number in range(20):
        grow(site.upstream, {f"delete_item(folder-1/{number}) mode=100644 flags=2": ""})
        (site.upstream / f"folder-{number % 4}/{number}").unlink()

    job = site.job(**fields)
    refused = site.run(job)

    assert refused.status == "refused"
    assert refused.reason.startswith("20 of 20 files (190 B) would be deleted;")
    assert job.deletions_judged
    assert len([path for path in site.directory.glob("folder-*/*") if path.is_file()]) == 20


def test_max_delete_in_rsync_options_is_a_further_limit(site: Site) -> None:
    lose(site, 3)

    refused = site.sync(rsync_options=("--max-delete=2",))

    assert refused.status == "refused"
    expected = "3 of 20 files (3 B) would be deleted; `--max-delete=2` in `rsync_options` allows 2."
    assert refused.reason == f"{expected} {ACCEPT}"
    assert site.sync(rsync_options=("--max-delete", "3")).status == "success"


@pytest.mark.parametrize(
    ("fields", "source"),
    [
        ({"rsync_options": ("--max-delete=0",)}, "`--max-delete=0` in `rsync_options` allows 0"),
        ({"rsync_options": ("--max-delete=-1",)}, "`--max-delete=-1` in `rsync_options` allows 0"),
        ({"rsync_options_extra": ("--max-delete=",)}, "`--max-delete=0` in `rsync_options_extra` allows 0"),
        (
            {"rsync_override": ("-a", "--delete", "--max-delete=2"), "rsync_options": ("--max-delete=010",)},
            "`--max-delete=2` in `rsync_override` allows 2",
        ),
        ({"rsync_options": ("--max-delete=5",), "max_delete": 1}, "`max_delete: 1` allows 1"),
    ],
    ids=str,
)
def test_a_refusal_names_the_limit_and_its_key(site: Site, fields: dict[str, Any], source: str) -> None:
    """A negative number allows no deletion, as in rsync itself."""
    lose(site, 3)

    refused = site.sync(**fields)

    assert (refused.status, refused.reason) == ("refused", f"3 of 20 files (3 B) would be deleted; {source}. {ACCEPT}")
    assert len([path for path in site.directory.rglob("*") if path.is_file()]) == 20


@pytest.mark.parametrize(
    "fields",
    [
        {"rsync_options": (f"--max-delete={-(2**31)}",)},
        {"rsync_options": ("--max-delete=1",), "rsync_override": ("-a", "--delete"), "rsync_override_only": True},
    ],
    ids=str,
)
def test_max_delete_in_options_that_are_not_in_force_is_not_a_limit(site: Site, fields: dict[str, Any]) -> None:
    lose(site, 3)

    assert site.sync(**fields).status == "success"
    assert len([path for path in site.directory.rglob("*") if path.is_file()]) == 17


def test_an_rsync_that_deletes_nothing_needs_no_guard(site: Site) -> None:
    lose(site, 3)
    job = site.job(rsync_override=("-a",))

    assert site.run(job).status == "success"
    assert job.deletions_judged
    assert "--max-delete" not in site.log.read_text()
    assert len([path for path in site.directory.rglob("*") if path.is_file()]) == 20


def test_an_rsync_that_makes_backups_deletes_by_itself(site: Site) -> None:
    lose(site, 3)
    job = site.job(rsync_options=("--backup", "--suffix=.old"))

    assert site.run(job).status == "success"
    assert not job.deletions_judged
    assert (site.directory / "folder-1/1.old").exists()


@pytest.mark.parametrize("stands", ["file", "link"])
def test_a_forged_name_below_a_file_does_not_replace_it_by_a_folder(site: Site, tmp_path: Path, stands: str) -> None:
    """A hostile server names folders below files as obstacles, and has folders there when they are fetched."""
    grow(site.upstream, {"here": "x" if stands == "file" else "-> folder-1"})
    assert site.sync().status == "success"
    before = tree(site.directory)
    changes = f"cd {site.upstream} && rm here && mkdir here && touch here/x"
    forged = "echo 'delete_item(here/x) mode=40755 flags=8'"
    script = f'case "$*" in *files-from*) {changes} ;; *max-delete=0*) {forged} ;; esac'

    assert site.sync(command=program(tmp_path, script), max_delete=0).status == "success"

    assert tree(site.directory) == before


def test_nothing_is_deleted_if_a_name_is_missing_or_forged(site: Site, tmp_path: Path) -> None:
    """A hostile server and a message of the day can print any line; rsync itself counts the deletions that it skips."""
    lose(site, 3)
    grow(site.directory, {"local": "ours"})
    for script in (
        'echo "delete_item(local) mode=100644 flags=2"',
        'rsync "$@" | grep -v "delete_item(folder-2"; exit 25',
    ):
        refused = site.sync(command=program(tmp_path, script), rsync_options=("--exclude=/local",))
        assert refused.status == "refused"
        assert "deletions, but named" in refused.reason
        assert refused.reason.endswith("pass on rsync's output and errors, apart and unchanged")
        assert "Skipjack deleted nothing" in refused.reason
        assert len([path for path in site.directory.rglob("*") if path.is_file()]) == 21


QUIET = 'rsync "$@" >/dev/null; exit'


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("script", [QUIET, 'rsync "$@" >/dev/null 2>&1; exit', 'rsync "$@" -q; exit'])
@pytest.mark.parametrize("codes", [(), (25,)])
def test_a_program_that_hides_the_output_of_rsync_fails_with_a_reason(
    site: Site, tmp_path: Path, provider: str, script: str, codes: tuple[int, ...]
) -> None:
    lose(site, 3)
    hiding = program(tmp_path, script)

    failed = site.sync(command=hiding, provider=provider, rsync_success_exit_codes=codes)

    assert (failed.status, failed.exit_code) == ("failed", 25)
    assert failed.reason == (
        f"cannot judge deletions: `{hiding}` exited with 25, so it skipped deletions, but printed none of them."
        " Expected lines such as `delete_item(…)` on its standard output."
        " Let it pass on rsync's output and errors, apart and unchanged"
    )
    assert len([path for path in site.directory.rglob("*") if path.is_file()]) == 20


def test_a_program_that_hides_the_code_of_rsync_as_well_is_named_in_the_log(site: Site, tmp_path: Path) -> None:
    lose(site, 3)
    job = site.job(command=program(tmp_path, 'rsync "$@" >/dev/null; exit 0'))

    assert site.run(job).status == "success"

    assert not job.deletions_judged
    assert "so this run has no guard before deletions. Let it pass on rsync's output" in site.log.read_text()
    assert len([path for path in site.directory.rglob("*") if path.is_file()]) == 20


def test_a_dry_run_cannot_show_deletions_of_a_program_that_hides_the_output_of_rsync(site: Site) -> None:
    job = site.job(command="/srv/hiding")
    with contextlib.closing(Names(str(site.state))) as names:
        assert deletion_guard.forecast(job, names) == (
            "cannot show its deletions: `/srv/hiding` did not print them."
            " Let it pass on rsync's output and errors, apart and unchanged"
        )
        job.directory += "-that-is-not-there"
        assert deletion_guard.forecast(job, names) == "would delete nothing"


def test_a_reason_does_not_deny_what_a_program_let_rsync_delete(site: Site, tmp_path: Path) -> None:
    lose(site, 12)
    left_out = 'for word; do shift; [ "$word" = --max-delete=0 ] || set -- "$@" "$word"; done; exec rsync "$@"'

    refused = site.sync(command=program(tmp_path, left_out))

    assert len([path for path in site.directory.rglob("*") if path.is_file()]) == 8
    assert refused.status == "refused"
    assert refused.reason.startswith("rsync skipped 0 deletions, but named 12; Skipjack deleted nothing. ")


@pytest.mark.parametrize("script", ['rsync "$@" 2>&1; exit', 'rsync "$@" 2>/dev/null; exit'])
def test_a_program_that_hides_the_errors_of_rsync_fails_with_a_reason(site: Site, tmp_path: Path, script: str) -> None:
    lose(site, 3)
    hiding = program(tmp_path, script)

    refused = site.sync(command=hiding)

    assert (refused.status, refused.reason) == (
        "refused",
        "rsync skipped 0 deletions, but named 3; Skipjack deleted nothing. Check the log and the upstream,"
        f" and let `{hiding}` pass on rsync's output and errors, apart and unchanged",
    )
    assert len([path for path in site.directory.rglob("*") if path.is_file()]) == 20


def test_a_folder_whose_name_ends_like_that_of_partial_files_counts_for_the_limits(site: Site) -> None:
    grow(site.upstream, {f"pool.~tmp~/{number}": "x" for number in range(40)})
    assert site.sync().status == "success"
    shutil.rmtree(site.upstream / "pool.~tmp~")

    refused = site.sync(max_delete="10%")

    assert refused.status == "refused" and "40 of 60 files" in refused.reason
    assert len(list((site.directory / "pool.~tmp~").iterdir())) == 40


OWN = ("-aH", "--delete", "--delay-updates")
EXCLUDED = ("--filter", "risk .~tmp~/", "--exclude", ".~tmp~/")


@pytest.mark.parametrize(
    "fields",
    [
        {"rsync_override": ("-aH", "--delete")},
        {"rsync_override": ("-aH", "--delete"), "rsync_override_only": True},
        {"rsync_override": ("-aH", "--delete", "--include=.~tmp~/", *EXCLUDED)},
        {"rsync_override": ("-aH", "--delete", "--exclude=.~tmp~/x")},
    ],
    ids=str,
)
def test_a_folder_of_the_upstream_named_like_that_of_partial_files_counts_for_the_limits(
    site: Site, fields: dict[str, Any]
) -> None:
    grow(site.upstream, {f".~tmp~/{number}": "x" for number in range(40)})
    assert site.sync(**fields).status == "success"
    assert len(list((site.directory / ".~tmp~").iterdir())) == 40
    shutil.rmtree(site.upstream / ".~tmp~")

    refused = site.sync(max_delete="10%", **fields)

    assert refused.status == "refused"
    assert refused.reason.startswith("40 of 60 files (40 B) would be deleted;")
    assert len(list((site.directory / ".~tmp~").iterdir())) == 40


@pytest.mark.parametrize(
    "fields", [{}, {"rsync_override": (*OWN, *EXCLUDED)}, {"rsync_override": (*OWN, *EXCLUDED[2:])}]
)
def test_partial_files_of_an_earlier_run_are_not_a_loss(site: Site, fields: dict[str, Any]) -> None:
    grow(site.directory, {f"folder-1/.~tmp~/{number}": "part" for number in range(40)})
    (site.upstream / "folder-1/1").unlink()

    assert site.sync(max_delete=1, **fields).status == "success"
    assert not (site.directory / "folder-1/1").exists()


def test_a_message_of_the_day_is_not_taken_for_output_of_rsync(tmp_path: Path) -> None:
    upstream = tmp_path / "upstream"
    grow(upstream / "below", {"kept": "x", "gone": "x"})
    motd = tmp_path / "motd"
    motd.write_text(
        "delete_item(local/empty) mode=40755 flags=128\nIO error encountered -- skipping file deletion\n"
        "Total bytes received: 55555555555\n"
    )
    with RsyncDaemon(tmp_path / "daemon", {"files": upstream}, options=f"motd file = {motd}") as daemon:
        made = Site(tmp_path, daemon.url("files/below"))
        assert made.sync().status == "success"
        (made.directory / "local/empty").mkdir(parents=True)
        (upstream / "below/gone").unlink()

        ending = made.sync(rsync_options=("--exclude=/local/",))

    assert ending.status == "success"
    assert ending.bytes is not None and ending.bytes < 10_000
    assert sorted(path.name for path in made.directory.iterdir()) == ["kept", "local"]
    assert (made.directory / "local/empty").is_dir()
    assert "55555555555" not in made.log.read_text(), "so that no pattern of a definition sees it"


@pytest.mark.parametrize("path", [b"../x", b"/etc/x", b"a/../../x", b"", b"a//b", b"./x", b"a/."])
def test_no_name_leads_out_of_the_mirror(tmp_path: Path, path: bytes) -> None:
    items = [Item(path, is_folder=False, nested=False, obstacle=False)]

    with pytest.raises(deletions.Outside):
        deletions.measure(str(tmp_path), items, deletions.Exempt(), lambda: False)


def test_no_link_is_followed_when_deleting(tmp_path: Path) -> None:
    grow(tmp_path, {"outside/file": "x", "mirror/link": "-> ../outside", "mirror/file": "x"})
    items = [Item(path, is_folder=False, nested=False, obstacle=False) for path in (b"link/file", b"file/x", b"gone/x")]
    items += [Item(b"link", is_folder=True, nested=False, obstacle=False)]

    assert deletions.delete(str(tmp_path / "mirror"), items, lambda: False) == []

    assert (tmp_path / "outside/file").exists()
    assert (tmp_path / "mirror/link").is_symlink()


def test_times_of_directories_stay_and_failures_are_named(tmp_path: Path) -> None:
    grow(tmp_path, {"kept/file": "x", "kept/other": "x", "full/x/y": "x"})
    os.utime(tmp_path / "kept", (1000, 1000))
    items = [Item(b"kept/file", is_folder=False, nested=False, obstacle=False)]
    items += [Item(b"full", is_folder=True, nested=False, obstacle=False)]

    assert deletions.delete(str(tmp_path), items, lambda: False) == []

    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["other"]
    assert (tmp_path / "kept").stat().st_mtime == 1000
    assert (tmp_path / "full/x/y").exists()


def test_names_that_rsync_escapes_are_decoded() -> None:
    assert decoded(rb"\#377\#012\#134#012 a\b") == b"\xff\n\\#012 a\\b"


def test_a_name_in_a_log_is_one_line() -> None:
    assert shown(b"a\nb\xff\x1b" + "ü".encode()) == "a\\#012b\\#377\\#033ü"


def test_a_log_names_few_deletions_and_counts_the_rest(site: Site) -> None:
    grow(site.upstream, {f"many/{number:04}": "" for number in range(300)})
    site.sync()
    shutil.rmtree(site.upstream / "many")

    assert site.sync(max_delete=300).status == "success"

    log = site.log.read_text()
    assert log.count("*deleting   many/") == 100
    assert "*deleting   201 more\n" in log


def test_a_full_disk_for_the_names_fails_before_anything_is_deleted(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose(site, 3)
    monkeypatch.setattr(deletion_names, "_nameless", lambda _folder: os.open("/dev/full", os.O_RDWR))

    failed = site.sync()

    assert failed.status == "failed"
    assert "No space left" in failed.reason
    assert len([path for path in site.directory.rglob("*") if path.is_file()]) == 20


def test_an_unwritable_directory_can_be_emptied(site: Site) -> None:
    """A directory that is unwritable at the upstream is emptied, and is unwritable afterwards."""
    (site.upstream / "folder-1").chmod(0o555)
    site.sync()
    lose(site, 5)

    assert site.sync().status == "success"
    assert stat.S_IMODE((site.directory / "folder-1").stat().st_mode) == 0o555
    assert tree(site.directory) == tree(site.upstream)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_an_interrupted_transfer_is_resumed_and_no_partial_file_is_visible(site: Site, provider: str) -> None:
    grow(site.upstream, {"folder-0/huge": os.urandom(40_000_000)})
    wanted = site.directory / "folder-0/huge"
    stop = supervisor.Stop()
    site.log.write_text("")
    job = site.job(provider=provider, rsync_options=("--bwlimit=20M",))

    def cut_off() -> None:
        wait_until(lambda: any(part.stat().st_size > 8_000_000 for part in wanted.parent.glob(".huge.*")), "it grows")
        stop.signal = 15
        os.write(stop._write_end, b"x")

    cutter = threading.Thread(target=cut_off)
    cutter.start()
    assert site.run(job, stop).status == "interrupted"
    cutter.join()

    assert not wanted.exists()
    kept = wanted.parent / ".~tmp~"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700, "no web server can read it"
    part = (kept / "huge").stat().st_size
    assert part > 8_000_000
    ending = site.sync(provider=provider)
    assert ending.status == "success"
    assert ending.bytes is not None
    assert ending.bytes < 40_000_000 - part * 0.9
    assert tree(site.directory) == tree(site.upstream)


def test_files_of_another_user_are_named_and_the_run_fails(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Like in a container whose user is not the worker's."""

    def forbidden(_name: bytes, *, dir_fd: int) -> None:
        raise PermissionError(1, f"Operation not permitted in {dir_fd > 0}")

    lose(site, 3)
    monkeypatch.setattr(os, "unlink", forbidden)

    failed = site.sync()

    assert failed.status == "failed"
    assert "cannot delete 3 items, the first of them `folder-0/0`: Operation not permitted" in failed.reason
    assert failed.reason.endswith("Check the owner of the files and the mount options")


ANOTHER = 12345


@pytest.fixture
def other() -> Iterator[Path]:
    """Return a folder that every user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="skipjack-another-user-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_files_that_the_worker_may_not_delete_stay(other: Path, monkeypatch: pytest.MonkeyPatch, provider: str) -> None:
    """An rsync in a container may run as root while the worker does not: limits hold, and nothing is a success."""

    def as_another(work: Callable[..., Any]) -> Callable[..., Any]:
        def call(*words: Any) -> Any:
            os.seteuid(ANOTHER)
            try:
                return work(*words)
            finally:
                os.seteuid(0)

        return call

    grow(other / "upstream/below", {f"folder-{number % 4}/{number}": "x" * number for number in range(20)})
    with RsyncDaemon(other / "daemon", {"files": other / "upstream"}) as daemon:
        site = Site(other, daemon.url("files/below"))
        assert site.sync(provider=provider).status == "success"
        for module, function in ((deletion_judgement, "judge"), (deletion_guard, "_delete")):
            monkeypatch.setattr(module, function, as_another(getattr(module, function)))
        lose(site, 3)
        job = site.job(provider=provider)
        failed, judged = site.run(job), job.deletions_judged
        refused = site.sync(provider=provider, max_delete=2)
        private = site.sync(provider=provider, rsync_options=("--chmod=D700",), max_delete_bytes=1)
        left = len([path for path in site.directory.rglob("*") if path.is_file()])
        accepted = site.sync("100%", provider=provider)

    assert judged and failed.status == "failed"
    assert failed.reason == (
        "cannot delete 3 items, the first of them `folder-0/0`: Permission denied. Its folder belongs to the user 0,"
        f" and the worker runs as the user {ANOTHER}. Let rsync run as the worker's user in a container as well."
        " Check the owner of the files and the mount options"
    )
    assert refused.reason.startswith("3 of 20 files (3 B) would be deleted; `max_delete: 2` allows 2.")
    assert private.status in ("failed", "refused")
    assert left == 20
    assert accepted.status == "success", "rsync itself deletes then"


def test_the_list_of_files_to_fetch_is_not_written_through_a_link(site: Site) -> None:
    """A container can write into the folder of the logs."""
    precious = site.state / "precious"
    precious.write_text("secret")
    shutil.rmtree(site.upstream / "folder-1")
    become_file(site.upstream / "folder-1")
    (site.logs / ".m.fetch").symlink_to(precious)
    before = os.umask(0o077)
    try:
        ending = site.sync(command=program(site.state, f"ls -l {site.logs}/.m.fetch >>{site.state}/modes 2>&1"))
    finally:
        os.umask(before)

    assert ending.status == "success"
    assert precious.read_text() == "secret"
    assert "\n-rw-r--r--" in (site.state / "modes").read_text(), "another user must read it, too"
    assert not os.path.lexists(site.logs / ".m.fetch")


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_tree_without_a_loss_is_reported_for_the_next_comparison(site: Site, provider: str) -> None:
    lose(site, 5)
    job = site.job(provider=provider)

    assert site.run(job).status == "success"

    assert job.contents == Tree(15, 180)


KEEP = "+ /dists/\n+ /dists/**\n+ /pool/\n+ /pool/**\n- *\n"


def test_an_include_list_adds_no_index_to_the_first_stage(site: Site, tmp_path: Path) -> None:
    grow(site.upstream, {"pool/a.deb": "a", "dists/Packages": "a", "dists/Release": "a", "dists/x/y": "y"})
    keep = tmp_path / "keep.txt"
    keep.write_text(KEEP)

    assert site.sync("100%", provider="two-stage-rsync", exclude_file=str(keep)).status == "success"

    first, second = site.log.read_text().split("Number of files:")[:2]
    assert "pool/a.deb" in first
    assert "dists/x/y" in first
    assert "Packages" not in first
    assert "dists/Packages" in second
    assert "dists/Release" in second


@pytest.mark.parametrize("key", ["rsync_options", "rsync_options_extra"])
def test_a_filter_of_the_mirror_applies_to_both_stages(site: Site, key: str) -> None:
    grow(site.upstream, {"pool/x_armel.deb": "a", "pool/x_amd64.deb": "a", "dists/binary-armel/x": "x"})
    words = ("--exclude=*_armel.deb", "--exclude=binary-armel/")

    fields: dict[str, Any] = {key: words}
    assert site.sync(provider="two-stage-rsync", **fields).status == "success"

    files = {path.name for path in site.directory.rglob("*")}
    assert "x_amd64.deb" in files
    assert not files & {"x_armel.deb", "binary-armel"}


@pytest.mark.parametrize(
    "fields",
    [
        {"rsync_options": ("--exclude=by-hash/",)},
        {"rsync_options_extra": ("--include=*.deb", "--filter=- /dists/*/by-hash")},
        {"exclude_file": "+ *.deb\n# old\nby-hash/\n"},
        {"exclude_file": "+ /dists/\n+ /dists/x/\n+ /pool/\n- by-hash\n- /*/\n"},
    ],
    ids=["option", "rule", "file", "list"],
)
def test_no_include_of_the_profile_overrides_an_exclude_of_the_mirror(
    site: Site, tmp_path: Path, fields: dict[str, Any]
) -> None:
    grow(site.upstream, {"pool/a.deb": "a", "dists/x/by-hash/a": "a", "dists/x/Packages": "a"})
    if "exclude_file" in fields:
        (tmp_path / "patterns").write_text(fields["exclude_file"])
        fields = {"exclude_file": str(tmp_path / "patterns")}

    assert site.sync(provider="two-stage-rsync", **fields).status == "success"

    found = tree(site.directory)
    assert {"pool/a.deb", "dists/x/Packages"} <= found.keys()
    assert "dists/x/by-hash" not in found


def test_files_behind_a_link_that_rsync_follows_are_deleted_within_the_mirror(site: Site, tmp_path: Path) -> None:
    grow(site.upstream, {"pool/a/x": "x", "pool/y": "y", "z": "z"})
    grow(site.directory, {"real/a/old": "x", "real/old": "y", "pool": "-> real", "old": "z"})
    fields: dict[str, Any] = {"rsync_options": ("-K", "--exclude=/real")}

    assert site.sync(**fields).status == "success"

    found = tree(site.directory).keys()
    assert {"real/a/x", "real/y", "z"} <= found
    assert not found & {"real/a/old", "real/old", "old"}
    # An old rsync follows a link to elsewhere, too; a new one fails.
    (site.directory / "pool").unlink()
    grow(tmp_path, {"elsewhere/old": "old"})
    (site.directory / "pool").symlink_to(tmp_path / "elsewhere")
    assert site.sync(**fields).status != "success"
    assert (tmp_path / "elsewhere/old").exists()


def test_a_place_behind_a_link_out_of_the_mirror_is_rejected(tmp_path: Path) -> None:
    grow(tmp_path, {"m/real/x": "x", "m/in": "-> real", "m/out": "-> ../..", "m/top": "-> ."})
    place = deletions.behind_links(str(tmp_path / "m"))

    assert [place(path) for path in (b"x", b"real/x", b"in/x", b"in/gone/x")] == [
        b"x", b"real/x", b"real/x", b"real/gone/x"
    ]  # fmt: skip
    for path in (b"out/x", b"top/x"):
        with pytest.raises(deletions.Outside):
            deletions.checked(place(path))
