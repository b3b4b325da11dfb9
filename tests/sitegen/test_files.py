import os
from pathlib import Path

import pytest

from schemas.errors import SkipjackError
from sitegen.site import files

OURS = b"<!-- Skipjack -->"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return tmp_path / "www" / "site"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_files_are_written_below_the_folder(site: Path) -> None:
    assert files.write(str(site), {"index.html": b"1", "mirrors/a.html": b"2"}) == 2
    assert (site / "index.html").read_bytes() + (site / "mirrors/a.html").read_bytes() == b"12"
    assert (site / "index.html").stat().st_mode & 0o777 == 0o644


def test_unchanged_files_are_not_touched(site: Path) -> None:
    files.write(str(site), {"a": b"same", "b": b"old"})
    before = (site / "a").stat()
    assert files.write(str(site), {"a": b"same", "b": b"new"}) == 1
    assert (site / "a").stat() == before
    assert (site / "b").read_bytes() == b"new"


def test_a_reader_sees_the_old_file_or_the_new_one_in_full(site: Path) -> None:
    files.write(str(site), {"a": b"old"})
    with (site / "a").open("rb") as reader:
        files.write(str(site), {"a": b"new"})
        assert reader.read() == b"old"
    assert names(site) == ["a"]


def test_a_failing_write_leaves_the_old_file_and_no_temporary_file(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write(str(site), {"a": b"old"})

    def no_space(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(SkipjackError, match="No space left on device"):
        files.write(str(site), {"a": b"new"})
    assert (site / "a").read_bytes() == b"old"
    assert names(site) == ["a"]


def test_every_file_is_synced_except_the_one_that_every_publishing_writes(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, real = [], os.fsync

    def fsync(handle: int) -> None:
        synced.append(Path(f"/proc/self/fd/{handle}").readlink().name)
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    written = {"index.html": b"1", "meta.json": b"2", "status.json": b"3", "mirrors/a.html": b"4"}
    assert files.write(str(site), written) == 4
    assert sorted(synced) == [
        ".skipjack-new-a.html", ".skipjack-new-index.html", ".skipjack-new-status.json", "mirrors", "site",
    ]  # fmt: skip


def test_many_files_are_written_and_a_failing_batch_leaves_no_temporary_file(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_TOGETHER", 7)
    many = {f"mirrors/{number}.html": str(number).encode() * 50_000 for number in range(20)}
    assert files.write(str(site), many) == 20
    assert {f"mirrors/{path.name}": path.read_bytes() for path in (site / "mirrors").iterdir()} == many
    real, waited = os.fsync, iter(range(100))

    def fails_later(handle: int) -> None:
        if next(waited) == 10:
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", fails_later)
    with pytest.raises(SkipjackError, match="No space left on device"):
        files.write(str(site), dict.fromkeys(many, b"new"))
    kept = [path.read_bytes() for path in (site / "mirrors").iterdir()]
    assert len(kept) == 20
    assert kept.count(b"new") == 7, "the first batch, whole"


def test_files_of_the_same_size_are_distinguished_by_their_last_byte(site: Path) -> None:
    long = b"x" * 300_000
    files.write(str(site), {"a": long + b"1"})
    assert files.write(str(site), {"a": long + b"2"}) == 1
    assert files.write(str(site), {"a": long + b"2"}) == 0


def test_only_generated_files_are_removed(site: Path) -> None:
    files.write(str(site), {"mirrors/gone.html": OURS, "mirrors/kept.html": OURS, "mirrors/other.html": b"the admin's"})
    (site / "mirrors" / "folder").mkdir()
    (site / "mirrors" / ".skipjack-new-x.html").write_bytes(b"left by a crash")
    assert files.remove_others(str(site), "mirrors", ["kept.html"]) == 2
    assert names(site / "mirrors") == ["folder", "kept.html", "other.html"]


def test_symbolic_links_are_not_followed(site: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(OURS)
    site.mkdir(parents=True)
    (site / "index.html").symlink_to(victim)
    files.write(str(site), {"index.html": b"new"})
    assert victim.read_bytes() == OURS
    assert not (site / "index.html").is_symlink()
    (site / "link").symlink_to(victim)
    files.remove_others(str(site), "", ["index.html"])
    assert (site / "link").is_symlink()


def test_a_symbolic_link_instead_of_a_folder_is_an_error(site: Path, tmp_path: Path) -> None:
    site.mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (site / "mirrors").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SkipjackError, match=r"cannot write to the folder `.*mirrors`"):
        files.write(str(site), {"mirrors/a.html": b"x"})
    assert names(tmp_path / "elsewhere") == []


def test_a_file_instead_of_the_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SkipjackError, match=r"cannot write to the folder `.*file`: .*a folder of its own"):
        files.write(str(tmp_path / "file"), {"a": b"x"})


def test_files_and_folders_are_readable_for_all_whatever_the_umask_is(site: Path) -> None:
    before = os.umask(0o077)
    try:
        files.write(str(site), {"index.html": b"1", "mirrors/a.html": b"2"})
        (site / "index.html").chmod(0o600)  # as an earlier release wrote them
        (site / "mirrors").chmod(0o700)
        assert files.write(str(site), {"index.html": b"1", "mirrors/a.html": b"2"}) == 1
    finally:
        os.umask(before)
    modes = {path: path.stat().st_mode & 0o777 for path in (site.parent, site, *site.rglob("*"))}
    assert modes == {path: 0o755 if path.is_dir() else 0o644 for path in modes}
