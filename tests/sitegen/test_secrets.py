"""Passwords in addresses are never shown, wherever the address was written."""

import json
from pathlib import Path

from schemas.records import Mirror, Site, Worker
from schemas.report import Override, ReportedProblem
from sitegen.messages.model import DeclaredConfig
from tests.sitegen.kit import NOW, REVISION, Manager, envelope_of, report_of, run_of, status_of

SECRET = "https://user:hunter2@up.example.org/x/?key=hunter2#hunter2"
ROUTES = [
    "/api/v1/catalogue", "/api/v1/mirrors", "/api/v1/mirrors/debian", "/api/v1/mirrors/arch", "/api/v1/runs",
    "/api/v1/workers", "/jobs", "/workers", "/workers/w1/jobs", "/workers/go1/jobs",
]  # fmt: skip


def test_no_page_and_no_reading_route_contains_a_password(tmp_path: Path) -> None:
    manager = Manager(tmp_path, tunasync={"writes_from": ["127.0.0.1"]})
    mirrors = (Mirror("debian", "w1", "rsync", SECRET),)
    with manager.store() as store:
        declared = DeclaredConfig(REVISION, NOW, Site("Mirrors"), {"w1": Worker("w1")}, mirrors, ())
        store.keep_catalogue(declared, NOW)
    run = run_of(1, "failed", reason=f"{SECRET} says no", log_tail=f"before\nfetching {SECRET}\nafter")
    override = Override("disabled", NOW, f"bob of {SECRET}", f"see {SECRET}")
    status = status_of("debian", "failed", run=run, upstream=SECRET, override=override)
    problem = ReportedProblem(None, "debian.yml:1:1", f"cannot fetch {SECRET}.", f"Look at {SECRET}.")
    told = envelope_of(report_of(1, status), problems=(problem,))
    with manager.serving():
        assert manager.post(told, manager.token()).status_code == 200
        job = {"name": "arch", "status": "failed", "upstream": SECRET, "error_msg": f"{SECRET} says no"}
        for path, body in (("/workers", {"id": "go1", "url": SECRET}), ("/workers/go1/jobs/arch", job)):
            assert manager.session.post(f"{manager.url}{path}", data=json.dumps(body)).status_code == 200
        manager.session.headers["Authorization"] = f"Bearer {manager.token('bob', 'operator')}"
        order = {"kind": "disable", "worker": "w1", "mirrors": ["debian"], "note": f"see {SECRET}"}
        given = manager.session.post(f"{manager.url}/api/v1/commands", json=order)
        assert given.status_code == 202, given.text
        done = {"worker": "w1", "results": [{"number": 1, "outcome": "refused", "reason": f"no {SECRET}"}]}
        headers = {"Authorization": f"Bearer {manager.token()}"}
        results = manager.session.post(f"{manager.url}/api/v1/commands/results", json=done, headers=headers)
        assert results.json() == {"taken": 1}
        answers = {path: json.dumps(manager.get(path)) for path in [*ROUTES, "/api/v1/commands/w1"]}
    assert "has no config repository" in manager.command("publish", "--once").stderr
    answers["audit"] = manager.run_here("audit", "--json").stdout
    answers |= {str(path): path.read_text() for path in manager.site.rglob("*") if path.is_file()}
    assert [where for where, text in answers.items() if "hunter2" in text] == []
    assert '"note": "see https://up.example.org/x/?***' in answers["audit"]
    assert '"reason": "no https://up.example.org/x/?***' in answers["/api/v1/commands/w1"]
    page = (manager.site / "mirrors" / "debian.html").read_text()
    assert "https://up.example.org/x/?*** says no" in page
    assert "fetching https://up.example.org/x/?***\nafter" in page
    manager.session.close()
