"""Problems of a worker as a whole, as `next` and every report to the manager show them."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.base.state_dir import StateLayout
from runner.courier import delivery
from runner.follow import follow, noted
from runner.hooks import control_group
from runner.journal import journal
from runner.plan.plan import Header
from runner.tick import next_runs
from schemas.config.settings import load_runner
from schemas.errors import SkipjackError
from schemas.records import RunnerSettings
from schemas.release import version
from schemas.report import ReportedProblem
from tests.e2e.parts import ConfigRepository, Worker

HEADER = Header("w1", 4, "a" * 40, "a" * 40, "x", "/run/skipjack")

MIRROR = "provider: command\nupstream: https://files.example/\ncommand: /bin/true\nworker: w1\n"


@pytest.fixture
def repository(tmp_path: Path) -> ConfigRepository:
    made = ConfigRepository(tmp_path)
    made.commit({"_site.yml": "title: x\n", "_workers.yml": "workers: {w1: {}}\n", "a.yml": MIRROR}, "Begin")
    return made


@pytest.fixture
def settings(tmp_path: Path, repository: ConfigRepository) -> RunnerSettings:
    found = load_runner(Worker(tmp_path / "w", "w1", repository.url).settings)
    follow.follow(found)
    return found


@pytest.fixture
def shown(settings: RunnerSettings, capsys: pytest.CaptureFixture[str]) -> Callable[[], tuple[list[str], list[str]]]:
    """The warnings of `next`, and the same as the report has them."""

    def show() -> tuple[list[str], list[str]]:
        capsys.readouterr()
        next_runs.upcoming(settings, as_json=False)
        lines = capsys.readouterr().err.splitlines()
        layout = StateLayout(settings.state_dir)
        with journal.opened(layout.journal) as book:
            told = delivery._envelope(settings, layout, book).problems
        warnings = [line.removeprefix("WARNING next: ") for line in lines]
        return warnings, [_line(problem) for problem in told]

    return show


def _line(problem: ReportedProblem) -> str:
    text = f"{problem.what} {problem.todo}".strip()
    return text if problem.place == noted.MEMORY else f"{problem.place}: {text}"


def revision(settings: RunnerSettings) -> str:
    return follow.follow(settings).revision[:12]


def test_failed_fetches_are_reported_with_their_start_and_the_revision_in_use(
    repository: ConfigRepository, settings: RunnerSettings, shown: Callable[[], tuple[list[str], list[str]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    used = revision(settings)
    away = repository.remote.rename(repository.remote.with_suffix(".away"))
    for now in (1_800_000_000.0, 1_800_009_000.0):
        monkeypatch.setattr("runner.follow.follow.time.time", lambda now=now: now)
        with pytest.raises(SkipjackError, match="cannot fetch"):
            follow.follow(settings)
    monkeypatch.undo()
    warnings, reported = shown()
    (warning,) = warnings
    since = "repository: Fetching the repository has failed since 2027-01-15 08:00 UTC"
    assert warning.startswith(f"{since}; revision {used} stays in use: cannot fetch the branch `main` of file://")
    assert reported == warnings
    away.rename(repository.remote)
    follow.follow(settings)
    assert shown() == ([], [])


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 200_000, b'{"repository": ' * 100_000, b"", b"\xff", b"null", b"[1]", b'{"repository": null}',
        b'{"repository": [["x", "what", "todo"]]}', b'{"repository": [[1e300, "what", "todo"]]}',
        b'{"repository": [[NaN, "what", "todo"]]}', b'{"repository": [[1, {}, "todo"]]}',
        b'{"repository": [[1, "\\ud800", "todo"]]}', b'{"repository": [[true, "what", "todo"]]}',
    ],
)  # fmt: skip
def test_damaged_notes_are_ignored_and_written_again(tmp_path: Path, content: bytes) -> None:
    layout = StateLayout(str(tmp_path))
    Path(layout.notes).write_bytes(content)
    assert noted.problems(layout, HEADER) == ()

    noted.unfetched(layout, SkipjackError("It is away.", "Wait."), None, 1_800_000_000.0)

    told = "Fetching the repository has failed since 2027-01-15 08:00 UTC: It is away."
    assert noted.problems(layout, HEADER) == ((None, "repository", told, "Wait."),)


def test_a_rejected_revision_is_reported_with_the_one_in_use(
    repository: ConfigRepository, settings: RunnerSettings, shown: Callable[[], tuple[list[str], list[str]]]
) -> None:
    used = revision(settings)
    refused = repository.commit({"_site.yml": "titel: x\n"}, "Break")[:12]
    follow.follow(settings)
    warnings, reported = shown()
    assert f"repository: Revision {refused} is rejected; revision {used} stays in use." in " ".join(warnings)
    assert any(line.startswith("_site.yml:1:1: ") for line in warnings)
    assert reported == warnings
    away = repository.remote.rename(repository.remote.with_suffix(".away"))
    with contextlib.suppress(SkipjackError):
        follow.follow(settings)
    warnings, reported = shown()
    assert f"Revision {refused} is rejected" in " ".join(warnings), "that does not end with the network"
    assert "Fetching the repository has failed since" in " ".join(warnings)
    assert reported == warnings
    away.rename(repository.remote)
    repository.commit({"_site.yml": "title: Site\n"}, "Mend")
    follow.follow(settings)
    assert shown() == ([], [])


def test_an_unenforced_limit_is_in_every_report(
    repository: ConfigRepository, settings: RunnerSettings, shown: Callable[[], tuple[list[str], list[str]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    repository.commit({"b.yml": f"{MIRROR}memory_limit: 64MiB\n"}, "Limit")
    follow.follow(settings)
    told = (
        "`memory_limit` of b is not enforced: runs are not systemd units here; "
        "name a control group by `cgroup` in the settings."
    )
    assert shown() == ([told], [told])
    (Path(settings.state_dir) / "launcher").write_text("systemd --user")
    monkeypatch.setattr(control_group, "is_unified", lambda: False)
    monkeypatch.setattr("runner.subprocesses.unit_health.look", lambda _places: [])
    follow.follow(settings)
    warnings, reported = shown()
    assert warnings == reported
    assert warnings[0].startswith("`memory_limit` of b is not enforced: units of a user have no memory controller here")
    monkeypatch.setattr(control_group, "is_unified", lambda: True)
    follow.follow(settings)
    assert shown() == ([], [])


@pytest.mark.parametrize("content", ["", "[]", "{", '{"repository": 1}', '{"repository": [["x", 1]]}', "\x00"])
def test_a_damaged_notes_file_loses_only_the_notes(settings: RunnerSettings, content: str) -> None:
    layout = StateLayout(settings.state_dir)
    Path(layout.notes).write_text(content)
    noted.unfetched(layout, SkipjackError("It failed.", "Wait."), None, 0.0)
    noted.fetched(layout)
    follow.follow(settings)


def test_a_report_has_the_version_with_its_commit(settings: RunnerSettings) -> None:
    """The manager's workers page shows it."""
    layout = StateLayout(settings.state_dir)
    with journal.opened(layout.journal) as book:
        assert delivery._envelope(settings, layout, book).version == version()
