"""Renew the one comment with the plan in each pull request that has a commit as its head."""

from runner.base.output import say
from runner.forecast.markdown import MARK
from runner.forge.forge import Forge, PullRequest

_OWN_CHECKS = (
    "**This pull request changes the checks in `.github/`.** Its own version of them has made this plan, so the plan"
    " may be wrong. Run `skipjack plan` in a clone before you merge it.\n\n"
)


def renew(forge: Forge, plan: str, head: str, base: str | None) -> None:
    """Write a plan into the open pull requests with a head, perhaps only those for a branch. Errors as those of Forge.

    The number comes from the forge, never from the job that made the plan.
    """
    found = [each for each in _open(forge, base) if each.head == head]
    if not found:
        say(f"no open pull request has the head {head}: nothing to do")
    for each in found:
        say(f"pull request {each.number}: {_renewed(forge, each.number, plan)}")


def list_open(forge: Forge, base: str | None) -> None:
    """Print the number and the head of each open pull request, perhaps only those for a branch."""
    for each in _open(forge, base):
        say(f"{each.number} {each.head}")


def _open(forge: Forge, base: str | None) -> list[PullRequest]:
    return sorted({each for each in forge.open_requests() if base in (None, each.base)})


def _renewed(forge: Forge, number: int, plan: str) -> str:
    if forge.changes_checks(number):
        plan = f"{MARK}\n{_OWN_CHECKS}{plan.removeprefix(MARK).lstrip()}"
    # The mark alone would let anyone choose the comment: it can be copied.
    own = [each for each in forge.comments(number) if each.is_own and each.text.startswith(MARK)]
    if not own:
        forge.post(number, plan)
        return "added the plan"
    if own[0].text.replace("\r\n", "\n").strip() == plan.strip():
        return "its plan is up to date"
    forge.edit(number, own[0].id, plan)
    return "renewed the plan"
