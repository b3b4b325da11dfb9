"""The walk before deletions reads the sizes of files only where a limit or the journal needs them."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from runner.base import contents
from runner.journal.last_success import Past
from runner.plugin_api import Abort
from runner.providers import deletion_judgement
from runner.providers.deletion_names import Names

from .syncing import Site, grow

UPSTREAM = "rsync://upstream.example.org/m/"
STATISTICS = b"Number of files: 10 (reg: 10)\nNumber of created files: 0\nTotal file size: 20 bytes\n"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Return a mirror of 80 files of 2 bytes each."""
    made = Site(tmp_path, UPSTREAM)
    grow(made.directory, {f"{number:02}": "xx" for number in range(80)})
    return made


@pytest.fixture
def names(tmp_path: Path) -> Iterator[Names]:
    """Return the names of 70 files that an upstream with 10 files lacks."""
    with closing(Names(str(tmp_path))) as found:
        found.output(b"".join(b"delete_item(%02d) mode=100644 flags=2\n" % number for number in range(70)) + STATISTICS)
        found.errors.take(b"Deletions stopped due to --max-delete limit (70 skipped)\n")
        yield found


def test_a_count_without_sizes_finds_the_same_files(site: Site) -> None:
    whole = contents.count(str(site.directory))

    assert whole == contents.Contents(80, 160, 160)
    assert contents.count(str(site.directory), sizes=False) == contents.Contents(80)


def test_after_a_success_with_files_no_size_is_read(site: Site, names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    job = site.job("100%")
    job.past = Past(success_at=1.0, files=80, bytes=160)
    monkeypatch.setattr(contents, "_regular", lambda _entry: pytest.fail("the size of a file was read"))

    judged = deletion_judgement.judge(job, names, 0)

    assert (judged.found.lost, judged.left.files, judged.counted) == ((70, 140), 10, True)


def test_a_refusal_without_any_known_files_records_files_and_bytes(site: Site, names: Names) -> None:
    job = site.job(max_delete="50%")

    with pytest.raises(Abort, match="70 of 80 files"):
        deletion_judgement.judge(job, names, 0)

    assert (job.past.files, job.past.bytes, job.past.first_look) == (80, 160, UPSTREAM)
