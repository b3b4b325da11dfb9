"""From a push to the plans of two real workers: a webhook at the manager wakes both, whose requests are held."""

import hashlib
import hmac
from contextlib import ExitStack
from pathlib import Path

import requests

from runner.base.state_dir import StateLayout
from runner.plan import plan
from schemas.errors import SkipjackError
from tests.e2e.parts import ConfigRepository, Manager, Worker, wait_until

SECRET = "a-secret-of-the-forge"
PUSH = b'{"ref": "refs/heads/main"}'
MIRROR = "provider: command\ncommand: 'true'\nupstream: x\nworker: {}\n"


def followed(worker: Worker) -> str | None:
    """Return the revision of a worker's plan, None while there is none."""
    try:
        with plan.opened(StateLayout(str(worker.state)).plan) as opened:
            return opened.header.revision
    except SkipjackError:
        return None


def said(worker: Worker) -> str:
    return (worker.folder / "courier.log").read_text()


def test_after_a_push_a_webhook_brings_the_revision_to_all_workers_and_the_site(
    repository: ConfigRepository, tmp_path: Path
) -> None:
    workers = "workers: {w1: {}, w2: {}}\n"
    first = repository.commit({"_workers.yml": workers, "a.yml": MIRROR.format("w1")}, "Begin")
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    manager = Manager(tmp_path / "m", repository.url)
    with manager.settings.open("a") as settings:
        settings.write(f"webhook: {{secret: {{file: {secret}}}}}\n")
    with manager, ExitStack() as stack:
        both = [Worker(tmp_path / name, name, repository.url, manager) for name in ("w1", "w2")]
        for worker in both:
            worker.command("follow")
            log = stack.enter_context((worker.folder / "courier.log").open("ab"))
            courier = worker.start("courier", "--linger", "--start", log=log)
            stack.callback(courier.wait)
            stack.callback(courier.kill)
        wait_until(lambda: (manager.published() or {}).get("revision") == first, "the site shows the first revision")
        for worker in both:
            _ping(manager, worker)
        pushed = repository.commit({"b.yml": MIRROR.format("w2")}, "Add b")

        forged = _post(manager, "guess")
        woken = _post(manager, SECRET)

        assert (forged.status_code, forged.json()["error"].count("\n")) == (403, 0)
        assert woken.status_code == 200
        wait_until(lambda: [followed(worker) for worker in both] == [pushed, pushed], "both workers have it in force")
        wait_until(lambda: (manager.published() or {}).get("revision") == pushed, "the site shows it")
    for worker in both:
        assert said(worker).count("the manager got a webhook: starting a follow") == 1


def _ping(manager: Manager, worker: Worker) -> None:
    """Wait until a worker's courier has answered a command, so that it knows the wake number."""
    url, operator = f"{manager.url}/api/v1/commands", manager.operator()
    wait_until(lambda: worker.name in requests.get(f"{manager.url}/api/v1/workers", timeout=300).text, "it reports")
    requests.post(url, json={"kind": "ping", "worker": worker.name}, headers=operator, timeout=300).raise_for_status()
    state = f"{url}/{worker.name}/1"
    wait_until(lambda: requests.get(state, headers=operator, timeout=300).json()["state"] == "done", "it answers")


def _post(manager: Manager, secret: str) -> requests.Response:
    signature = hmac.new(secret.encode(), PUSH, hashlib.sha256).hexdigest()
    headers = {"X-GitHub-Event": "push", "X-Hub-Signature-256": f"sha256={signature}"}
    return requests.post(f"{manager.url}/api/v1/webhook", data=PUSH, headers=headers, timeout=300)
