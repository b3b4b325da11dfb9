"""The courier reports the digest of the worker's policy, and sends the policy to a manager that asks for it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.courier import courier
from runner.follow import follow
from schemas.config import exported_policy
from schemas.config.settings import load_policy, load_runner
from schemas.records import RunnerSettings
from schemas.release import version
from tests.e2e.parts import ConfigRepository, Worker

from .scripted_manager import Answer, ScriptedManager

REPORTS, POLICIES = "/api/v1/reports", "/api/v1/policies"
TAKEN, WANTED = (200, b'{"acknowledged": 0}'), (200, b'{"acknowledged": 0, "policy_wanted": true}')


class Manager:
    """A manager that answers every report alike, and every policy alike."""

    def __init__(self) -> None:
        self.answer, self.answer_to_policy = TAKEN, (200, b'{"digest": "x"}')
        self.asked: list[dict[str, Any]] = []
        self.scripted = ScriptedManager(self.says)

    def says(self, asked: dict[str, Any], _count: int) -> Answer:
        self.asked.append(asked)
        if "journal" in asked:
            return self.answer
        return self.answer_to_policy if asked else (404, b"{}")


@pytest.fixture
def manager() -> Iterator[Manager]:
    made = Manager()
    yield made
    made.scripted.close()


@pytest.fixture
def settings(tmp_path: Path, manager: Manager) -> RunnerSettings:
    repository = ConfigRepository(tmp_path)
    repository.commit({"_site.yml": "title: x\n", "_workers.yml": "workers: {w1: {}}\n"}, "Begin")
    worker = Worker(tmp_path / "w", "w1", repository.url)
    worker.report_to(manager.scripted.url, "x" * 43)
    found = load_runner(worker.settings)
    follow.follow(found)
    return found


def deliver(settings: RunnerSettings, tmp_path: Path) -> None:
    courier.once(settings, tmp_path / "w/runner.yml", start=False)


def exported(settings: RunnerSettings) -> exported_policy.ExportedPolicy:
    return exported_policy.exported(settings, load_policy(Path(settings.policy)), version())


def test_a_manager_of_an_earlier_release_gets_the_digest_and_no_policy(
    settings: RunnerSettings, manager: Manager, tmp_path: Path
) -> None:
    deliver(settings, tmp_path)
    assert POLICIES not in manager.scripted.paths
    [report] = [each for each in manager.asked if "journal" in each]
    assert report["policy"] == exported(settings).digest


def test_a_manager_that_asks_gets_the_policy_as_it_is_now(
    settings: RunnerSettings, manager: Manager, tmp_path: Path
) -> None:
    manager.answer = WANTED
    Path(settings.policy).write_text("images: ['tools:*']\n")
    deliver(settings, tmp_path)
    [sent] = [each for each in manager.asked if "machine" in each]
    assert sent == exported_policy.as_plain(exported(settings)) and sent["policy"]["images"] == ["tools:*"]
    assert "x" * 43 not in repr(sent) and manager.scripted.url not in repr(sent)
    deliver(settings, tmp_path)
    assert manager.asked[-2]["policy"] != exported(settings).digest, "the digest of the plan, until the next follow"
    follow.follow(settings)
    deliver(settings, tmp_path)
    assert [each for each in manager.asked if "journal" in each][-1]["policy"] == exported(settings).digest


def test_the_policy_has_the_settings_of_now_and_not_of_the_start_of_the_courier(
    settings: RunnerSettings, manager: Manager, tmp_path: Path
) -> None:
    manager.answer = WANTED
    file = tmp_path / "w/runner.yml"
    file.write_text(file.read_text() + "container_program: podman\n")
    deliver(settings, tmp_path)
    [sent] = [each for each in manager.asked if "machine" in each]
    assert (settings.container_program, sent["machine"]["container_program"]) == ("docker", "podman")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((422, b'{"error": "Unknown key `x`."}'), "answered 422: Unknown key `x`."),
        ((404, b"{}"), "answered 404."),
        ((503, b"{}"), "answered 503."),
        ((200, b"[]"), "is not a Skipjack manager."),
        ((200, b"{}"), "is not a Skipjack manager."),
    ],
)
def test_a_manager_that_rejects_the_policy_gets_all_reports(
    settings: RunnerSettings,
    manager: Manager,
    tmp_path: Path,
    answer: Answer,
    why: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    manager.answer, manager.answer_to_policy = WANTED, answer
    deliver(settings, tmp_path)
    [warning] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("WARNING courier:")]
    assert warning.startswith("WARNING courier: cannot send the policy of this machine: the ") and why in warning


def test_an_invalid_policy_stops_no_report(
    settings: RunnerSettings, manager: Manager, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manager.answer = WANTED
    Path(settings.policy).write_text("programms: []\n")
    deliver(settings, tmp_path)
    assert "cannot send the policy of this machine: the policy" in capsys.readouterr().err
    assert POLICIES not in manager.scripted.paths and REPORTS in manager.scripted.paths
