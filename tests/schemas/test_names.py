"""Names of mirrors and workers: which are valid, and what every valid one can be a part of."""

import re
import string
from pathlib import Path

import pytest

from runner.subprocesses import units
from schemas.names import is_name

TEMPLATES = Path(units.__file__).parents[1] / "install/templates"


@pytest.mark.parametrize("name", ["debian", "CTAN", "0ad", "a", "debian-security", "a.b_c-d", "x" * 64])
def test_names_that_may_be(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "..", "../../etc", "a/b", "/etc", ".hidden", "-rf", "_site", "a b", "debian\n", "\ndebian", "a\0b",
        "dèbian", "\uff44ebian", "٣", "x" * 65, "a%2fb", "a\\b", "a:b",
    ],
)  # fmt: skip
def test_unsafe_names_are_rejected(name: str) -> None:
    assert not is_name(name)


def test_each_name_has_a_unit_of_its_own_without_escapes() -> None:
    """See systemd.unit(5) for the characters and the longest name of a unit."""
    valid = [char for char in map(chr, range(256)) if is_name(f"a{char}")]
    assert set(valid) <= set(f"{string.ascii_letters}{string.digits}:_.\\-")
    assert all(len(path.name) + 64 <= 255 for path in TEMPLATES.iterdir())
    assert len({units.unit(name) for name in ("a-b", "a.b", "a_b", "a.service", "a", "A", "x" * 64)}) == 7
    used = [path.name for path in TEMPLATES.iterdir() if re.search("^[^#]*%I", path.read_text("utf-8"), re.MULTILINE)]
    assert used == [], "%I would make `a-b` the mirror `a/b`"
