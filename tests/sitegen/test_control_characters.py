"""Control characters in reports reach no page, no JSON and no terminal."""

import json
from pathlib import Path

from tests.sitegen.kit import Manager, envelope_of, report_of, run_of, status_of

EVIL = "ERROR \x1b[31mred\x1b[0m \x1b]0;title\x07 \x9b2J \u202eltr"
ROUTES = ["/api/v1/mirrors", "/api/v1/mirrors/debian", "/api/v1/runs", "/jobs", "/workers/w1/jobs", "/workers/go1/jobs"]


def strange(text: str) -> set[str]:
    """Return the characters of a text that a terminal or a page would interpret."""
    return {letter for letter in text if not letter.isprintable()} - {"\n", "\t", "\u202f", "\u00a0", "\u2009"}


def texts(value: object) -> str:
    """Yield all texts in a JSON value."""
    if isinstance(value, dict):
        return "".join(map(texts, value.values()))
    if isinstance(value, list):
        return "".join(map(texts, value))
    return str(value)


def test_no_page_and_no_reading_route_passes_on_control_characters(tmp_path: Path) -> None:
    manager = Manager(tmp_path, tunasync={"writes_from": ["127.0.0.1"]})
    run = run_of(1, "failed", reason=EVIL, log_tail=f"before\n{EVIL}\nafter")
    told = envelope_of(report_of(1, status_of("debian", "failed", run=run)))
    with manager.serving():
        assert manager.post(told, manager.token()).status_code == 200
        job = {"name": "arch", "status": "failed", "upstream": "rsync://up.example/", "error_msg": EVIL}
        for path, body in (("/workers", {"id": "go1", "url": "http://x/"}), ("/workers/go1/jobs/arch", job)):
            assert manager.session.post(f"{manager.url}{path}", data=json.dumps(body)).status_code == 200
        answers = {path: texts(manager.get(path)) for path in ROUTES}
    assert "has no config repository" in manager.command("publish", "--once").stderr
    for file in manager.site.rglob("*"):
        if file.suffix == ".json":
            answers[str(file)] = texts(json.loads(file.read_text()))
        elif file.suffix == ".html":
            answers[str(file)] = file.read_text()
    assert {where: strange(text) for where, text in answers.items() if strange(text)} == {}
    assert any("ERROR " in text for text in answers.values())
    manager.session.close()
