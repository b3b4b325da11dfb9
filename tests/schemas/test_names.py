import pytest

from schemas.names import is_name


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
