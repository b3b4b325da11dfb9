"""`next` shows that the manager accepts no reports: at once if only a person can change that, else after an hour."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.base.state_dir import StateLayout
from runner.courier import courier
from runner.follow import follow, noted
from runner.install import secret_check, setup
from runner.tick import next_runs
from schemas.config.settings import load_runner
from schemas.errors import SkipjackError
from schemas.mirror_record import Secret
from schemas.records import ManagerAddress, Policy, RunnerSettings
from tests.e2e.parts import ConfigRepository, Worker

from .scripted_manager import Answer, ScriptedManager

NOTHING_LISTENS = "http://127.0.0.1:9"
TAKEN = (200, b'{"acknowledged": 0}')
NO_COMMANDS = (404, b"{}")


class Manager:
    """A manager that answers every report alike."""

    def __init__(self) -> None:
        self.answer: Answer = TAKEN
        self.scripted = ScriptedManager(lambda asked, _count: self.answer if "journal" in asked else NO_COMMANDS)


@pytest.fixture
def manager() -> Iterator[Manager]:
    made = Manager()
    yield made
    made.scripted.close()


@pytest.fixture
def settings(tmp_path: Path, manager: Manager) -> RunnerSettings:
    repository = ConfigRepository(tmp_path)
    repository.commit({"_site.yml": "title: x\n", "_workers.yml": "workers: {w1: {}}\n"}, "Begin")
    found = load_runner(Worker(tmp_path / "w", "w1", repository.url).settings)
    follow.follow(found)
    (tmp_path / "token").write_text("x" * 43)
    return found._replace(manager=ManagerAddress(manager.scripted.url, token=Secret(file=str(tmp_path / "token"))))


def deliver(settings: RunnerSettings, tmp_path: Path) -> str:
    """Deliver once; gives what went wrong."""
    try:
        courier.once(settings, tmp_path / "runner.yml", start=False)
    except SkipjackError as error:
        return str(error)
    return ""


def warnings(settings: RunnerSettings, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The warnings of `next`, without the moment since when something is so."""
    capsys.readouterr()
    next_runs.upcoming(settings, as_json=False)
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("WARNING next: ")]


@pytest.mark.parametrize("status", [401, 403])
def test_a_rejected_token_is_shown_at_once_until_a_report_is_accepted(
    settings: RunnerSettings, manager: Manager, status: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manager.answer = (status, b'{"error": "the token is not valid"}')
    said = deliver(settings, tmp_path)
    assert f"answered {status}: the token is not valid. Create a token with `skipjack-manager token add WORKER`" in said
    [warning] = warnings(settings, capsys)
    assert warning.startswith("WARNING next: manager: It has accepted no reports since 20") and warning.endswith(said)
    assert warnings(settings._replace(manager=None), capsys) == [], "of a manager that the settings no longer name"
    manager.answer = TAKEN
    assert deliver(settings, tmp_path) == ""
    assert warnings(settings, capsys) == []


def test_a_refused_token_that_is_a_credential_needs_a_restart_of_the_courier(
    settings: RunnerSettings, manager: Manager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    manager.answer = (401, b"")
    told = settings._replace(manager=ManagerAddress(manager.scripted.url, token=Secret(credential="token")))
    assert deliver(told, tmp_path).endswith("`systemctl restart skipjack-courier`.")


def test_an_unreachable_manager_is_shown_after_an_hour(
    settings: RunnerSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    away = settings._replace(manager=ManagerAddress(NOTHING_LISTENS))
    now = 1_800_000_000.0
    monkeypatch.setattr("time.time", lambda: now)
    said = deliver(away, tmp_path)
    assert "cannot reach the manager at" in said and warnings(away, capsys) == []
    now += noted.LONG - 1
    deliver(away, tmp_path)
    assert warnings(away, capsys) == []
    now += 1
    assert warnings(away, capsys) == [
        f"WARNING next: manager: It has accepted no reports since 2027-01-15 08:00 UTC: {said}"
    ]
    assert deliver(settings, tmp_path) == ""
    assert warnings(away, capsys) == []


@pytest.mark.parametrize("text", ["two words\n", "a\ttab\n", "wörd\n"])
def test_an_invalid_token_is_rejected_by_the_courier_and_by_install(
    settings: RunnerSettings, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    token = tmp_path / "token"
    token.write_text(text)
    words = "contains white space or other characters that no token has. Write only the token into the first line"
    assert f"the token in {token} {words}" in deliver(settings, tmp_path)
    assert words in warnings(settings, capsys)[0]
    installed = setup.of_worker(settings, Policy(), str(tmp_path / "runner.yml"), "root", own=True, containers=False)
    assert not secret_check.warn(installed)
    assert f"WARNING install: {token} (`manager.token`) {words}" in capsys.readouterr().err
    secret_check.warn_for_cron(installed, settings)
    assert f"WARNING install: {token} (`manager.token`) {words}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", "[1, 2]", '["x", "", "", true]', '[1e300, "", "", true]', "\x00", "[" * 200_000],
    ids=["empty", "no items", "cut off", "two numbers", "a text as the time", "a late time", "a zero byte", "deep"],
)
def test_a_damaged_note_is_written_again(settings: RunnerSettings, content: str) -> None:
    layout = StateLayout(settings.state_dir)
    Path(layout.unreported).write_text(content)
    assert list(noted.of_manager(layout, 0.0)) == []
    noted.unreported(layout, SkipjackError("It failed.", "Wait."), 0.0, lasting=True)
    assert list(noted.of_manager(layout, 0.0)) == [
        (None, "manager", "It has accepted no reports since 1970-01-01 00:00 UTC: It failed.", "Wait.")
    ]
