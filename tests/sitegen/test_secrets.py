"""Passwords that stand in addresses are told to nobody, wherever somebody wrote them."""

import json
from pathlib import Path

from schemas.records import Mirror, Site, Worker
from sitegen.messages.model import Declared
from tests.sitegen.kit import NOW, REVISION, Manager, envelope_of, report_of, run_of, status_of

SECRET = "https://user:hunter2@up.example.org/x/?key=hunter2#hunter2"
ROUTES = [
    "/api/v1/catalogue", "/api/v1/mirrors", "/api/v1/mirrors/debian", "/api/v1/mirrors/arch", "/api/v1/runs",
    "/api/v1/workers", "/jobs", "/workers", "/workers/w1/jobs", "/workers/go1/jobs",
]  # fmt: skip


def test_no_page_and_no_reading_route_tells_a_password(tmp_path: Path) -> None:
    manager = Manager(tmp_path, tunasync={"writes_from": ["127.0.0.1"]})
    mirrors = (Mirror("debian", "w1", "rsync", SECRET),)
    with manager.store() as store:
        declared = Declared(REVISION, NOW, Site("Mirrors"), {"w1": Worker("w1")}, mirrors, ())
        store.keep_catalogue(declared, NOW)
    run = run_of(1, "failed", reason=f"{SECRET} says no", log_tail=f"before\nfetching {SECRET}\nafter")
    told = envelope_of(report_of(1, status_of("debian", "failed", run=run, upstream=SECRET)))
    with manager.serving():
        assert manager.post(told, manager.token()).status_code == 200
        job = {"name": "arch", "status": "failed", "upstream": SECRET, "error_msg": f"{SECRET} says no"}
        for path, body in (("/workers", {"id": "go1", "url": SECRET}), ("/workers/go1/jobs/arch", job)):
            assert manager.session.post(f"{manager.url}{path}", data=json.dumps(body)).status_code == 200
        answers = {path: json.dumps(manager.get(path)) for path in ROUTES}
    assert "names no config repository" in manager.command("publish", "--once").stderr
    answers |= {str(path): path.read_text() for path in manager.site.rglob("*") if path.is_file()}
    assert [where for where, text in answers.items() if "hunter2" in text] == []
    page = (manager.site / "mirrors" / "debian.html").read_text()
    assert "https://up.example.org/x/?*** says no" in page
    assert "fetching https://up.example.org/x/?***\nafter" in page
    manager.session.close()
