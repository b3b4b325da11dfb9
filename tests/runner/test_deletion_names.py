"""Lines that a hostile server can print in place of rsync's own figures."""

from pathlib import Path

import pytest

from runner.providers.deletion_names import Counts, Errors, Listing, Names

ENDLESS = b"9" * 5000
"""More digits than Python parses as a number."""


def test_endless_figures_are_ignored() -> None:
    listing = Listing()
    listing.take(b"Number of files: 1 (reg: " + ENDLESS + b")\nTotal file size: " + ENDLESS + b" bytes\n")
    assert listing.counts == Counts()


def test_an_endless_number_of_deletions_differs_from_the_names() -> None:
    errors = Errors()
    assert errors.take(b"Deletions stopped due to --max-delete limit (" + ENDLESS + b" skipped)\n") == b""
    assert errors.limits_hit == [0]


def test_endless_names_are_counted_and_not_kept(tmp_path: Path) -> None:
    names = Names(str(tmp_path), most=5)
    line = b"delete_item(" + b"a" * 900 + b") mode=100644 flags=2\n"
    for _batch in range(100):
        assert names.output(line * 200) == b""
    assert (names.files, names.are_too_many, names.fault) == (20_000, True, "")
    assert 5 < len(list(names.items())) < 10_100
    names.close()


def test_a_line_with_an_endless_type_or_flag_is_not_a_name(tmp_path: Path) -> None:
    names = Names(str(tmp_path))
    for line in (b"mode=100644 flags=" + ENDLESS, b"mode=1" + ENDLESS.replace(b"9", b"7") + b" flags=2"):
        assert names.output(b"delete_item(x) " + line + b"\n") != b""
    assert list(names.items()) == []


def test_possible_partial_files_reach_no_limit(tmp_path: Path) -> None:
    names = Names(str(tmp_path))
    for path in (b"a/.~tmp~/part", b"a/.name.AbCdEf", b".name.AbCdEf", b"folder", b"way"):
        mode, flags = (b"40755", b"2") if path == b"folder" else (b"100644", b"18" if path == b"way" else b"2")
        names.output(b"delete_item(%b) mode=%b flags=%b\n" % (path, mode, flags))
    assert (names.files, len(list(names.items()))) == (0, 5)
    names.close()


def test_endless_numbers_of_deletions_take_no_memory() -> None:
    errors = Errors()
    errors.take(b"Deletions stopped due to --max-delete limit (1 skipped)\n" * 1000)
    assert errors.limits_hit == [1, 1]


@pytest.mark.parametrize(
    "start",
    [b"text", b"text\r", b"deleting in ", b">f+++++++++ ", b"cannot delete non-empty directory: ", b"delete_in_dir(x) ",
     b"delete_item(x) mode=40755 flags=0 ", b"delete_item(", b" ", b"\r", b"x" * 5000],
)  # fmt: skip
def test_files_that_make_way_count_behind_the_start_of_a_line_that_a_server_printed(
    tmp_path: Path, start: bytes
) -> None:
    counted: list[bytes] = []
    names = Names(str(tmp_path), made_way=counted.extend)
    names.output(b"a line\n" + start + b"delete_item(a/b) mode=100644 flags=16\nanother\n")
    assert len(counted) == 1
    assert counted[0].endswith(b"b")
    names.output(start + b"delete_item(c) mode=100644 flags=2\n")
    assert len(counted) == 1
    names.close()
