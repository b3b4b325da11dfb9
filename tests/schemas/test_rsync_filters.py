"""Which rules of a merged file make rsync read a further one?"""

import pytest

from schemas.rsync.rsync_filters import SentFile, rules_that_read, sent_file


@pytest.mark.parametrize(
    ("content", "modifiers", "found"),
    [
        ("- *.iso\n+ a\nP /x\n!\n# . /x\n; : y\n\n", "", []),
        ("- *.iso\n. /x\n", "", [". /x"]),
        ("merge /x", "", ["merge /x"]),
        (".,n_/x\n", "", [".,n_/x"]),
        (": rules\n:- more", "e", [": rules", ":- more"]),
        ("dir-merge,C\n", "", ["dir-merge,C"]),
        ("-C\n", "", ["-C"]),
        ("- x\r. /x\0: y", "", [". /x", ": y"]),
        (". /x\n", "-", []),
        (". /x\n", "n+", []),
        ("- x . /x", "", []),
        ("- x . /x", "w", [". /x"]),
        ("# . /x", "w", [". /x"]),
        (" . /x", "", []),
        ("merged\ndir-merged/\n.hidden", "w", [".hidden"]),
    ],
)
def test_rules_that_read_a_file_are_found_where_rsync_begins_a_rule(
    content: str, modifiers: str, found: list[str]
) -> None:
    assert list(rules_that_read(content, modifiers)) == found


def test_the_file_of_an_option_has_the_modifiers_of_its_rule() -> None:
    assert sent_file("--exclude-from", "/x") == SentFile("/x", None)
    assert sent_file("--filter", "merge,-e /x") == SentFile("/x", "-e")
    assert sent_file("--filter", ". /x") == SentFile("/x", "")
    for option, value in (
        ("--exclude-from", "-"),
        ("--filter", "- /x"),
        ("--filter", ": x"),
        ("--filter", "."),
        ("--exclude", "/x"),
    ):
        assert sent_file(option, value) is None
