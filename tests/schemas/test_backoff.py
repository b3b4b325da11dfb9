"""Delays after failures in a row."""

from schemas.backoff import Backoff


def test_the_delay_doubles_up_to_the_limit_and_starts_again_after_a_success() -> None:
    backoff = Backoff(1.0, 30.0)
    assert [backoff.after_failure() for _ in range(7)] == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    backoff.reset()
    assert backoff.after_failure() == 1.0
