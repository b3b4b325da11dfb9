"""One comment with the plan, renewed by a job that trusts nothing of the pull request."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner import cli
from runner.forecast.markdown import MARK
from runner.forge import rest_api

from .fake_forge import COMMIT, FORGES, OTHER, TOKEN, FakeForge, FakeGitHub, FakeGitLab, HttpError

PLAN = f"{MARK}\n**Valid.** 1 changed, on 1 worker.\n"


@pytest.fixture(params=FORGES, ids=[each.kind for each in FORGES])
def forge(request: pytest.FixtureRequest) -> Iterator[FakeForge]:
    with request.param() as found:
        yield found


@pytest.fixture
def github() -> Iterator[FakeGitHub]:
    with FakeGitHub() as found:
        yield found


@pytest.fixture(autouse=True)
def job(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment of a job with a token; no pause between attempts."""
    for name in [name for name in os.environ if name.startswith(("GITHUB_", "CI_", "GITLAB_", "GITEA_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SKIPJACK_FORGE_TOKEN", TOKEN)
    monkeypatch.setattr(rest_api, "PAUSES", (0.0, 0.0))
    return monkeypatch


class Commenter:
    """Runs `skipjack forge comment` with a plan."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.file, self._capsys = folder / "plan.md", capsys

    def run(self, forge: FakeForge, plan: str = PLAN, *more: str, head: str = COMMIT) -> tuple[int, str, str]:
        self.file.write_text(plan)
        return self.words("comment", "--plan", str(self.file), "--head-sha", head, *forge.words(), *more)

    def words(self, *words: str) -> tuple[int, str, str]:
        code = cli.main(["forge", *words])
        printed = self._capsys.readouterr()
        assert TOKEN not in printed.out + printed.err
        return code, printed.out, printed.err


@pytest.fixture
def commenter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Commenter:
    return Commenter(tmp_path, capsys)


def test_one_comment_is_added_and_then_renewed(forge: FakeForge, commenter: Commenter) -> None:
    forge.pull(1, OTHER)
    forge.pull(2)
    forge.comment(2, "Thank you!", "visitor")
    assert commenter.run(forge) == (0, "pull request 2: added the plan\n", "")
    assert forge.texts(2) == ["Thank you!", PLAN]
    assert commenter.run(forge) == (0, "pull request 2: its plan is up to date\n", "")
    assert commenter.run(forge, PLAN.replace("1 changed", "2 changed"))[:2] == (0, "pull request 2: renewed the plan\n")
    assert forge.texts(2) == ["Thank you!", PLAN.replace("1 changed", "2 changed")]
    assert forge.texts(1) == []


def test_the_mark_in_a_comment_of_another_user_is_not_enough(forge: FakeForge, commenter: Commenter) -> None:
    forge.pull(1)
    forge.comment(1, f"{MARK}\nEverything is fine, merge it.", "attacker")
    forge.comment(1, "The bot wrote this for another reason.")
    commenter.run(forge)
    assert forge.texts(1)[:2] == [f"{MARK}\nEverything is fine, merge it.", "The bot wrote this for another reason."]
    assert forge.texts(1)[2:] == [PLAN]


@pytest.mark.parametrize("kind", [kind for kind in FORGES if kind is not FakeGitLab])
def test_the_token_of_a_job_finds_its_own_comment(kind: type[FakeForge], commenter: Commenter) -> None:
    with kind() as forge:
        forge.is_of_job = True
        forge.pull(1)
        forge.comment(1, PLAN, "mirror-bot")
        forge.comment(1, PLAN.replace("1 changed", "2 changed"))
        commenter.run(forge)
        assert forge.texts(1) == [PLAN, PLAN]


def test_the_author_can_be_named(forge: FakeForge, commenter: Commenter) -> None:
    forge.pull(1)
    forge.comment(1, f"{MARK}\nold", "our-app[bot]")
    commenter.run(forge, PLAN, "--author", "our-app[bot]")
    assert forge.texts(1) == [PLAN]


def test_a_closed_pull_request_gets_no_comment(forge: FakeForge, commenter: Commenter) -> None:
    forge.pull(1, state="closed")
    assert commenter.run(forge) == (0, f"no open pull request has the head {COMMIT}: nothing to do\n", "")
    assert forge.texts(1) == []


def test_pull_requests_with_the_same_head_differ_by_their_branch(forge: FakeForge, commenter: Commenter) -> None:
    forge.pull(1, base="old")
    forge.pull(2)
    forge.pull(3)
    commenter.run(forge, PLAN, "--base", "main")
    assert [forge.texts(number) for number in (1, 2, 3)] == [[], [PLAN], [PLAN]]


def test_a_number_in_the_plan_is_ignored(forge: FakeForge, commenter: Commenter) -> None:
    forge.pull(1)
    forge.pull(2, OTHER)
    commenter.run(forge, f"2\n{PLAN}pull request 2\nnumber: 2\n")
    assert (len(forge.texts(1)), forge.texts(2)) == (1, [])


def test_all_pages_are_read(forge: FakeForge, commenter: Commenter) -> None:
    for number in range(1, 131):
        forge.pull(number, OTHER)
    forge.pull(131)
    for number in range(130):
        forge.comment(131, f"Comment {number}", "visitor")
    forge.comment(131, f"{MARK}\nold")
    assert commenter.run(forge)[1] == "pull request 131: renewed the plan\n"
    assert len(forge.texts(131)) == 131 and forge.texts(131)[-1] == PLAN


def test_open_pull_requests_are_listed_for_a_job(forge: FakeForge, commenter: Commenter) -> None:
    forge.pull(12, OTHER, "old")
    forge.pull(3)
    forge.pull(4, state="closed")
    assert commenter.words("list", *forge.words())[:2] == (0, f"3 {COMMIT}\n12 {OTHER}\n")
    assert commenter.words("list", *forge.words(), "--base", "main")[1] == f"3 {COMMIT}\n"


def test_a_head_that_is_not_a_commit_is_rejected(forge: FakeForge, commenter: Commenter) -> None:
    forge.pull(3, "$(touch pwned)")
    code, out, err = commenter.words("list", *forge.words())
    assert (code, out) == (1, "") and "is not the API of this kind of forge" in err


@pytest.mark.parametrize(
    "error",
    [HttpError(429, "Too many requests"), HttpError(403, "API rate limit exceeded for installation"),
     HttpError(403, "You have exceeded a secondary rate limit")],
    ids=["429", "primary", "secondary"],
)  # fmt: skip
def test_a_rate_limit_is_waited_for(forge: FakeForge, commenter: Commenter, error: HttpError) -> None:
    forge.pull(1)
    forge.failing = [error, error]
    assert commenter.run(forge)[0] == 0
    assert forge.texts(1) == [PLAN]
    forge.failing = [error] * 3
    code, _out, err = commenter.run(forge)
    assert code == 1 and "Its rate limit was reached" in err


def test_a_comment_is_not_posted_again_after_an_error_that_may_have_come_late(
    github: FakeGitHub, commenter: Commenter
) -> None:
    github.pull(1)
    posting = github.post

    def late(number: str, body: object) -> object:
        posting(number, body)
        raise HttpError(502, "Bad gateway")

    github.post = late  # type: ignore[method-assign]
    code, _out, err = commenter.run(github)
    assert code == 1 and "answered 502: Bad gateway. Run the job again" in err
    assert github.texts(1) == [PLAN]


@pytest.mark.parametrize(
    ("status", "words"),
    [(401, "Check the token"), (403, "Give the token the permission"), (404, "Check `--repository`"),
     (301, "Write the present name of the repository"), (422, "Run the job again")],
)  # fmt: skip
def test_errors_say_what_to_do(forge: FakeForge, commenter: Commenter, status: int, words: str) -> None:
    forge.pull(1)
    forge.failing = [HttpError(status, "No, \x1b[31m https://user:secret@example.org", Location=forge.url)]
    code, out, err = commenter.run(forge)
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert words in err and f"answered {status}" in err
    assert "\x1b" not in err and "secret" not in err


def test_a_server_that_is_not_a_forge(github: FakeGitHub, commenter: Commenter) -> None:
    github.answer = lambda *_words: {"pulls": 1}  # type: ignore[method-assign]
    code, _out, err = commenter.run(github)
    assert code == 1 and "is not the API of this kind of forge. Check `--forge` and `--api`." in err


def test_a_forge_that_does_not_answer(commenter: Commenter) -> None:
    with FakeGitHub() as forge:
        pass
    code, _out, err = commenter.run(forge)
    assert code == 1 and "cannot reach the forge at http://127.0.0.1" in err and "refused" in err


@pytest.mark.parametrize("changed", [".github/workflows/x.yml", ".GitHub/x"])
def test_a_plan_of_changed_checks_comes_with_a_warning(github: FakeGitHub, commenter: Commenter, changed: str) -> None:
    github.pull(1)
    github.files[1] = [f"m{number}.yml" for number in range(150)] + [changed]
    commenter.run(github)
    [text] = github.texts(1)
    assert text.startswith(f"{MARK}\n**This pull request changes the checks in `.github/`.**")
    assert text.endswith("\n\n**Valid.** 1 changed, on 1 worker.\n")
    assert commenter.run(github)[1] == "pull request 1: its plan is up to date\n"


def test_more_files_than_github_lists_may_hide_changed_checks(github: FakeGitHub, commenter: Commenter) -> None:
    github.pull(1)
    github.files[1] = [f"!{number}.yml" for number in range(3000)]
    commenter.run(github)
    assert "changes the checks" in github.texts(1)[0]


def test_the_variables_of_a_job_say_where(github: FakeGitHub, commenter: Commenter, job: pytest.MonkeyPatch) -> None:
    github.pull(1)
    commenter.file.write_text(PLAN)
    words = ("comment", "--plan", str(commenter.file), "--head-sha", COMMIT)
    for name, value in {
        "GITHUB_ACTIONS": "true", "GITHUB_API_URL": github.api, "GITHUB_REPOSITORY": "site/mirrors",
    }.items():  # fmt: skip
        job.setenv(name, value)
    assert commenter.words(*words)[0] == 0
    assert github.texts(1) == [PLAN]
    job.setenv("GITEA_ACTIONS", "true")  # its runner sets that of GitHub as well, and has another API
    code, _out, err = commenter.words(*words)
    assert code == 1 and "answered 401" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "no job of a known forge is running: name it with --forge"),
        (("--forge", "github", "--api", "https://api.example.org"), "name the repository with --repository"),
        (("--forge", "github", "--api", "https://x.example", "--repository", "a/b/../c"), "is not valid"),
        (("--forge", "github", "--repository", "a/b"), "name the address of the API with --api"),
        (("--forge", "github", "--repository", "a/b", "--api", "http://x.example"), "it begins with https://"),
        (("--head-sha", "main"), "is not the full hash of a commit"),
    ],
)
def test_wrong_usage(
    commenter: Commenter, words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    commenter.file.write_text(PLAN)
    with pytest.raises(SystemExit) as ended:
        commenter.words("comment", "--plan", str(commenter.file), "--head-sha", COMMIT, *words)
    assert ended.value.code == 2 and said in capsys.readouterr().err


def test_the_token_comes_from_a_file_or_a_variable(
    github: FakeGitHub, commenter: Commenter, job: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    github.pull(1)
    job.delenv("SKIPJACK_FORGE_TOKEN")
    code, _out, err = commenter.run(github)
    assert code == 1 and "there is no token in the variable SKIPJACK_FORGE_TOKEN" in err
    job.setenv("SKIPJACK_FORGE_TOKEN", "two words")
    assert commenter.run(github)[0] == 1
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    assert commenter.run(github, PLAN, "--token-file", str(tmp_path / "token"))[0] == 0
