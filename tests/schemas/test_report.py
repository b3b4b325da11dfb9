import json
from typing import Any

import pytest

from schemas import report
from schemas.config.schema_set import schema, validator
from schemas.report import Envelope, MirrorStatus, Override, Probe, Report, ReportedProblem, Run

RUN = Run(7, "failed", 1.0, 2.0, 3.5, 2, 23, "rsync exited with 23", 1.5, 10, 2, 2**62, "last line\n", "a" * 40)
PROBE = Probe(4.0, 3.0, 2.0, False, "", 1.5, "project/trace/master", 4.0)
STATUS = MirrorStatus("debian", "rsync://h/m/", True, "failed", RUN, 2.0, 3.5, 1.0, 99.0, 5, PROBE)
BARE = MirrorStatus("gnu", "rsync://h/g/", False, "none")
REPORTS = (
    Report(1, 4.0, report.CHANGE, (STATUS,)),
    Report(2, 5.0, report.SNAPSHOT, (STATUS, BARE), (("debian", RUN), ("gnu", Run(8, "success")))),
)
PROBLEMS = (
    ReportedProblem("debian", "debian.yml:1:8", "what", "todo"),
    ReportedProblem(None, "_site.yml:1:1", "what", ""),
)
ENVELOPE = Envelope("w1", "0" * 32, 6.0, "0.1.0", "b" * 40, 4, 1, PROBLEMS, REPORTS)


def encoded(envelope: Envelope) -> dict[str, Any]:
    """Return the envelope as it arrives from the network."""
    reports = [
        {"number": each.number, "made_at": each.made_at, "kind": each.kind}
        | report.encode_content(each.statuses, each.runs)
        for each in envelope.reports
    ]
    plain: dict[str, Any] = json.loads(json.dumps(report.encode_envelope(envelope, reports)))
    return plain


@pytest.mark.parametrize("envelope", [ENVELOPE, ENVELOPE._replace(reports=(), problems=(), revision=None)])
def test_an_envelope_survives_the_wire_and_its_schema(envelope: Envelope) -> None:
    plain = encoded(envelope)
    validator("report").validate(plain)
    assert report.decode_envelope(plain) == envelope


def test_no_value_of_a_run_or_an_override_is_out_of_the_schemas_bounds() -> None:
    """Texts come from programs and upstreams; one that is too long would block all later reports."""
    words = "x" * 100_000
    run = RUN._replace(reason=words, log_tail=words, bytes=10**30, files=10**30, size=10**30)
    probe = PROBE._replace(problem=words, file=words)
    status = STATUS._replace(upstream=words, run=run, size=10**30, override=Override("paused", 1.0, words, words))
    status = status._replace(probe=probe)
    plain = encoded(ENVELOPE._replace(reports=(Report(1, 4.0, report.SNAPSHOT, (status,), (("debian", run),)),)))
    validator("report").validate(plain)
    reported = plain["reports"][0]["statuses"][0]
    assert (reported["run"]["bytes"], reported["size"], len(reported["run"]["reason"])) == (2**62, 2**62, 2000)
    assert reported["run"]["reason"].endswith("…") and reported["override"]["by"].endswith("…")


def test_unknown_keys_of_a_newer_worker_are_ignored() -> None:
    plain = encoded(ENVELOPE)
    for part in (plain, plain["problems"][0], plain["reports"][0], plain["reports"][1]["runs"][0]):
        part["new"] = {"a": [1]}
    plain["reports"][0]["statuses"][0]["new"] = plain["reports"][0]["statuses"][0]["run"]["new"] = 1
    validator("report").validate(plain)
    assert report.decode_envelope(plain) == ENVELOPE


def test_an_older_workers_missing_keys_get_their_defaults() -> None:
    plain = encoded(ENVELOPE)
    status = plain["reports"][0]["statuses"][0]
    del plain["reports"][0]["runs"], status["size"], status["run"]["files"], status["next_run_at"]
    del status["probe"]["file"], status["probe"]["seen_at"]
    validator("report").validate(plain)
    first = report.decode_envelope(plain).reports[0]
    assert first == REPORTS[0]._replace(
        statuses=(
            STATUS._replace(
                size=None, next_run_at=None, run=RUN._replace(files=None), probe=PROBE._replace(file=None, seen_at=None)
            ),
        )
    )


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("worker", "../etc"), ("worker", "w1\n"), ("journal", "x"), ("sent_at", "now"), ("sent_at", -1),
        ("slots_total", 4.0), ("slots_busy", True),
        ("revision", "main"), ("reports", {}), ("problems", None), ("protocol", 3),
        ("reports/0/number", 0), ("reports/0/kind", "rumour"), ("reports/0/statuses/0/mirror", "a/b"),
        ("reports/0/statuses/0/mirror", "debian\n"), ("reports/0/statuses/0/status", "fresh"),
        ("reports/0/statuses/0/is_master", 1), ("reports/0/statuses/0/run/id", 2**63),
        ("reports/0/statuses/0/run/exit_code", 256), ("reports/0/statuses/0/run/size", -1),
        ("reports/0/statuses/0/run/log_tail", "x" * 20_000), ("reports/1/runs/0/mirror", None),
        ("reports/0/statuses/0/last_success_at", 1e12),
        ("reports/0/statuses/0/probe/file", "x" * 2000), ("reports/0/statuses/0/probe/file", 1),
        ("problems/0/mirror", "a b"),
    ],
)  # fmt: skip
def test_the_schema_rejects_harmful_values(path: str, value: object) -> None:
    plain: Any = encoded(ENVELOPE)
    *above, last = path.split("/")
    part = plain
    for step in above:
        part = part[int(step) if step.isdigit() else step]
    part[last] = value
    assert not validator("report").is_valid(plain)


ADDED = {
    "progress", "held", "policy", "leftovers", "rejected", "signer", "signing_key", "pinned_until", "pinned_by",
    "pin_reason",
}  # fmt: skip
"""Keys that older workers do not send."""


@pytest.mark.parametrize("key", sorted({*Envelope._fields} - ADDED))
def test_all_keys_of_an_envelope_are_required(key: str) -> None:
    plain = encoded(ENVELOPE)
    del plain[key]
    assert not validator("report").is_valid(plain)


def test_long_problems_are_cut_to_the_schemas_bounds() -> None:
    plain = encoded(ENVELOPE._replace(problems=(ReportedProblem("debian", "x" * 9999, "y" * 9999, "z" * 9999),)))
    validator("report").validate(plain)
    assert plain["problems"][0]["what"] == "y" * 3999 + "…"


def test_the_number_of_problems_is_cut_to_the_schemas_bounds() -> None:
    limit = schema("report")["properties"]["problems"]["maxItems"]
    assert len(encoded(ENVELOPE._replace(problems=PROBLEMS[:1] * (limit + 1)))["problems"]) == limit
