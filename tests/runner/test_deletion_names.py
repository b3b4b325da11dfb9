"""What a hostile server can print in place of rsync's own figures."""

from runner.providers.deletion_names import Counts, Errors, Listing

ENDLESS = b"9" * 5000
"""More digits than Python reads as a number."""


def test_figures_without_end_are_none() -> None:
    listing = Listing()
    listing.take(b"Number of files: 1 (reg: " + ENDLESS + b")\nTotal file size: " + ENDLESS + b" bytes\n")
    assert listing.counts == Counts()


def test_a_number_of_deletions_without_end_agrees_with_no_names() -> None:
    errors = Errors()
    assert errors.take(b"Deletions stopped due to --max-delete limit (" + ENDLESS + b" skipped)\n") == b""
    assert errors.limits_hit == [0]
