"""How many files may one run delete?"""

from typing import Any

import pytest

from runner.plan.deletion_limits import Limits, Loss, Tree, allowed, limits_of, refusal
from schemas.records import Mirror

MIRROR = Mirror("debian", "w1", "rsync", "rsync://rsync.example.org/debian/")
REMEDY = ". If that is right, run `skipjack run debian --max-delete 100%`"


def loss(had: int, lost: int, left: int | None = None, size: int = 0) -> Loss:
    """Return a loss of files, by default without new files."""
    return Loss(Tree(had, 10 * size), Tree(lost, size), had - lost if left is None else left)


def judged(limits: Limits, found: Loss) -> str:
    return refusal(limits, found, "debian")


@pytest.mark.parametrize(
    ("limits", "found"),
    [
        (Limits("10%"), loss(80, 8)),
        (Limits("10%"), loss(10, 1)),
        (Limits("10%"), loss(19, 1)),
        (Limits("10%", floor=5), loss(10, 5)),
        (Limits("100%"), loss(80, 79)),
        (Limits("100%"), loss(1, 1, left=1)),
        (Limits(7), loss(10, 7)),
        (Limits(0), loss(10, 0)),
        (Limits("0%"), loss(0, 0)),
        (Limits("50%", size=100), loss(10, 5, size=100)),
        (Limits("100%", named=True), loss(10, 10)),
        (Limits("100%", named=True), loss(10, 10, size=10**15)),
        (Limits("50%"), loss(10, -5)),
    ],
)
def test_few_deletions_are_allowed(limits: Limits, found: Loss) -> None:
    assert judged(limits, found) == ""


@pytest.mark.parametrize(
    ("limits", "found", "reason"),
    [
        (Limits("10%"), loss(80, 9), "9 of 80 files (0 B) would be deleted; `max_delete: 10%` allows 8"),
        (Limits("10%"), loss(9, 1), "1 of 9 files (0 B) would be deleted; `max_delete: 10%` allows 0"),
        (
            Limits("10%", floor=5),
            loss(10, 6),
            "6 of 10 files (0 B) would be deleted; `max_delete: 10%` and `max_delete_floor: 5` allow 5",
        ),
        (Limits(7), loss(10, 8), "8 of 10 files (0 B) would be deleted; `max_delete: 7` allows 7"),
        (Limits(7, floor=100), loss(10, 8), "8 of 10 files (0 B) would be deleted; `max_delete: 7` allows 7"),
        (
            Limits("50%", size=99),
            loss(10, 5, size=100),
            "5 of 10 files (100 B) would be deleted; `max_delete_bytes` allows 99 B",
        ),
        (
            Limits("30%", named=True),
            loss(10, 4),
            "4 of 10 files (0 B) would be deleted; `--max-delete 30%` allows 3",
        ),
    ],
)
def test_more_deletions_are_refused_with_figures_and_a_remedy(limits: Limits, found: Loss, reason: str) -> None:
    assert judged(limits, found) == reason + REMEDY


@pytest.mark.parametrize(
    "limits",
    [
        Limits("10%"),
        Limits("10%", floor=100),
        Limits("100%"),
        Limits("100%", floor=100),
        Limits(100),
        Limits("99%", named=True),
        Limits(100, named=True),
    ],
)
def test_losing_the_last_file_is_refused_unless_the_operator_accepts_it(limits: Limits) -> None:
    expected = "no file would be left: 80 of 80 files (2.00 KiB) would be deleted" + REMEDY
    assert judged(limits, loss(80, 80, size=2048)) == expected
    assert judged(Limits("100%", named=True), loss(80, 80)) == ""


@pytest.mark.parametrize("floor", [39, 40, 100, 10**9])
def test_a_floor_never_allows_the_loss_of_all_files(floor: int) -> None:
    limits = Limits("10%", floor=floor)
    for left in (1, 5, 1000):
        expected = f"39 of 39 files (0 B) would be deleted; `max_delete: 10%` and `max_delete_floor: {floor}` allow 38"
        assert judged(limits, loss(39, 39, left=left)) == expected + REMEDY
    assert judged(limits, loss(39, 38)) == ""
    assert judged(limits, loss(1, 1, left=1)) != ""
    assert judged(limits, loss(0, 0)) == ""


@pytest.mark.parametrize("share", range(101))
def test_a_share_never_allows_more_than_that_share(share: int) -> None:
    for had in (*range(200), 10**9 + 7):
        most = allowed(Limits(f"{share}%"), had)
        assert most * 100 <= share * had < (most + 1) * 100


@pytest.mark.parametrize(
    ("fields", "named", "expected"),
    [
        ({}, None, Limits("50%")),
        (
            {"max_delete": 5, "max_delete_floor": 3, "max_delete_bytes": 9},
            None,
            Limits(5, 3, 9),
        ),
        ({"max_delete_floor": 3, "max_delete_bytes": 9}, "20%", Limits("20%", 0, 9, named=True)),
        ({"max_delete_floor": 3, "max_delete_bytes": 9}, 20, Limits(20, 0, 9, named=True)),
        ({"max_delete_floor": 3, "max_delete_bytes": 9}, "100%", Limits("100%", 0, None, named=True)),
    ],
)
def test_the_operator_replaces_the_limit_of_the_definition(
    fields: Any, named: int | str | None, expected: Limits
) -> None:
    limits = limits_of(MIRROR._replace(**fields), named)

    assert limits == expected
    assert limits.are_off == (named == "100%")
