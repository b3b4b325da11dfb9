"""Encodes the accepted configuration, workers' problems and progress as JSON text for the store, and decodes it.

Only values that pages need are stored: where secrets are, and which commands run, concerns only the workers.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from schemas import report
from schemas.addresses import without_secrets
from schemas.records import FreshnessFile, Mirror, Site, SyncWindows, Worker
from schemas.report import Override, Probe, ReportedProblem, RunProgress
from sitegen.storage.corruption import checked

_MIRROR_FIELDS = (
    "name",
    "worker",
    "provider",
    "upstream",
    "title",
    "description",
    "homepage",
    "category",
    "role",
    "formerly",
    "interval",
    "cron",
    "stale_after",
    "freshness",
)


def plain_site(site: Site) -> dict[str, Any]:
    """Return the site's record as JSON-serializable values."""
    return site._asdict() | {"categories": dict(site.categories)}


def encode_site(site: Site) -> str:
    """Encode the site's record."""
    return json.dumps(plain_site(site))


def decode_site(text: str) -> Site:
    """Decode the result of `encode_site`; keys of other releases are ignored."""
    return Site(**{key: value for key, value in json.loads(text).items() if key in Site._fields})


def plain_workers(workers: Iterable[Worker]) -> list[dict[str, Any]]:
    """Return the workers' records as JSON-serializable values."""
    return [
        worker._asdict() | {"sync_windows": worker.sync_windows._asdict() if worker.sync_windows else None}
        for worker in workers
    ]


def encode_workers(workers: Mapping[str, Worker]) -> str:
    """Encode the workers' records."""
    return json.dumps(plain_workers(workers.values()))


def decode_workers(text: str) -> dict[str, Worker]:
    """Decode the result of `encode_workers`."""
    return {item["name"]: _worker(item) for item in json.loads(text)}


def _worker(plain: Mapping[str, Any]) -> Worker:
    fields = {key: plain[key] for key in Worker._fields if key in plain}
    return Worker(**fields | {"sync_windows": _sync_windows(fields.get("sync_windows"))})


def _sync_windows(plain: Any) -> SyncWindows | None:
    """Decode sync windows, also those that an earlier release wrote as a list."""
    if not plain:
        return None
    allowed, forbidden, stop = plain if isinstance(plain, list) else (plain[key] for key in SyncWindows._fields)
    return SyncWindows(tuple(allowed), tuple(forbidden), stop)


def plain_mirrors(mirrors: Iterable[Mirror]) -> list[dict[str, Any]]:
    """Return the mirrors' fields that pages need, as JSON-serializable values."""
    return [_plain_mirror(mirror) for mirror in mirrors]


def _plain_mirror(mirror: Mirror) -> dict[str, Any]:
    plain = {key: getattr(mirror, key) for key in _MIRROR_FIELDS}
    upstream = without_secrets(mirror.upstream)
    return plain | {"upstream": upstream, "freshness": mirror.freshness._asdict() if mirror.freshness else None}


def encode_mirrors(mirrors: Iterable[Mirror]) -> str:
    """Encode the mirrors' fields that pages need."""
    return json.dumps(plain_mirrors(mirrors))


def decode_mirrors(text: str) -> tuple[Mirror, ...]:
    """Decode the result of `encode_mirrors`. Fields that are missing, as in an older release, have their defaults."""
    return tuple(_mirror(item) for item in json.loads(text))


def _mirror(plain: Mapping[str, Any]) -> Mirror:
    fields = {key: plain[key] for key in _MIRROR_FIELDS if key in plain}
    if rule := fields.get("freshness"):
        fields["freshness"] = FreshnessFile(**{key: rule[key] for key in FreshnessFile._fields if key in rule})
    return Mirror(**fields | {"formerly": tuple(fields.get("formerly", ()))})


def encode_policies(policies: Mapping[str, str]) -> str:
    """Encode the digests of the exported policies in the config repository, by worker."""
    return json.dumps(policies)


def decode_policies(text: str) -> dict[str, str]:
    """Decode the result of `encode_policies`."""
    return {str(worker): str(digest) for worker, digest in json.loads(text).items()}


def encode_problems(problems: Sequence[ReportedProblem]) -> str:
    """Encode a worker's problems, without secrets: their texts may contain addresses of a repository or an upstream."""
    # Almost no report has problems, and encoding an empty list takes longer than this comparison.
    return json.dumps([_without_secrets(problem)._asdict() for problem in problems]) if problems else "[]"


def _without_secrets(problem: ReportedProblem) -> ReportedProblem:
    return problem._replace(what=without_secrets(problem.what), todo=without_secrets(problem.todo))


def decode_problems(text: str) -> tuple[ReportedProblem, ...]:
    """Decode the result of `encode_problems`."""
    plain = json.loads(text)
    return tuple(
        checked(ReportedProblem(**{key: item[key] for key in ReportedProblem._fields if key in item})) for item in plain
    )


def encode_progress(progress: Sequence[RunProgress]) -> str:
    """Encode the progress of a worker's runs."""
    return json.dumps([item._asdict() for item in progress]) if progress else "[]"


def decode_progress(text: str) -> tuple[RunProgress, ...]:
    """Decode the result of `encode_progress`."""
    plain = json.loads(text)
    return tuple(
        checked(RunProgress(**{key: item[key] for key in RunProgress._fields if key in item})) for item in plain
    )


def encode_override(override: Override | None) -> str | None:
    """Encode an override."""
    return json.dumps(override._asdict()) if override else None


def decode_override(text: str | None) -> Override | None:
    """Decode the result of `encode_override`."""
    return checked(report.decode_override(json.loads(text))) if text else None


def encode_probe(probe: Probe | None) -> str | None:
    """Encode the comparison of a mirror with its upstream."""
    return json.dumps(probe._asdict()) if probe else None


def decode_probe(text: str | None) -> Probe | None:
    """Decode the result of `encode_probe`."""
    return checked(report.decode_probe(json.loads(text))) if text else None
