"""The accepted configuration, the workers' problems and their progress as JSON text for the store, and back.

Only what pages need is kept: where secrets are and what runs is the workers' business.
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
    """The site's record as JSON can hold it."""
    return site._asdict() | {"categories": dict(site.categories)}


def encode_site(site: Site) -> str:
    """Write the site's record."""
    return json.dumps(plain_site(site))


def decode_site(text: str) -> Site:
    """Read what `encode_site` wrote; keys of another release are ignored."""
    return Site(**{key: value for key, value in json.loads(text).items() if key in Site._fields})


def plain_workers(workers: Iterable[Worker]) -> list[dict[str, Any]]:
    """The workers' records as JSON can hold them."""
    return [
        worker._asdict() | {"sync_windows": worker.sync_windows._asdict() if worker.sync_windows else None}
        for worker in workers
    ]


def encode_workers(workers: Mapping[str, Worker]) -> str:
    """Write the workers' records."""
    return json.dumps(plain_workers(workers.values()))


def decode_workers(text: str) -> dict[str, Worker]:
    """Read what `encode_workers` wrote."""
    return {item["name"]: _worker(item) for item in json.loads(text)}


def _worker(plain: Mapping[str, Any]) -> Worker:
    fields = {key: plain[key] for key in Worker._fields if key in plain}
    return Worker(**fields | {"sync_windows": _sync_windows(fields.get("sync_windows"))})


def _sync_windows(plain: Any) -> SyncWindows | None:
    """Read hours, also those that an earlier release wrote as a list."""
    if not plain:
        return None
    allowed, forbidden, stop = plain if isinstance(plain, list) else (plain[key] for key in SyncWindows._fields)
    return SyncWindows(tuple(allowed), tuple(forbidden), stop)


def plain_mirrors(mirrors: Iterable[Mirror]) -> list[dict[str, Any]]:
    """What pages tell of the mirrors, as JSON can hold it."""
    return [_plain_mirror(mirror) for mirror in mirrors]


def _plain_mirror(mirror: Mirror) -> dict[str, Any]:
    plain = {key: getattr(mirror, key) for key in _MIRROR_FIELDS}
    upstream = without_secrets(mirror.upstream)
    return plain | {"upstream": upstream, "freshness": mirror.freshness._asdict() if mirror.freshness else None}


def encode_mirrors(mirrors: Iterable[Mirror]) -> str:
    """Write what pages tell of the mirrors."""
    return json.dumps(plain_mirrors(mirrors))


def decode_mirrors(text: str) -> tuple[Mirror, ...]:
    """Read what `encode_mirrors` wrote; everything else has its default, as has what an older release left out."""
    return tuple(_mirror(item) for item in json.loads(text))


def _mirror(plain: Mapping[str, Any]) -> Mirror:
    fields = {key: plain[key] for key in _MIRROR_FIELDS if key in plain}
    if rule := fields.get("freshness"):
        fields["freshness"] = FreshnessFile(**{key: rule[key] for key in FreshnessFile._fields if key in rule})
    return Mirror(**fields | {"formerly": tuple(fields.get("formerly", ()))})


def encode_problems(problems: Sequence[ReportedProblem]) -> str:
    """Write a worker's problems, whose words may name a repository or an upstream."""
    return json.dumps([_without_secrets(problem)._asdict() for problem in problems]) if problems else "[]"


def _without_secrets(problem: ReportedProblem) -> ReportedProblem:
    return problem._replace(what=without_secrets(problem.what), todo=without_secrets(problem.todo))


def decode_problems(text: str) -> tuple[ReportedProblem, ...]:
    """Read what `encode_problems` wrote."""
    plain = json.loads(text)
    return tuple(
        checked(ReportedProblem(**{key: item[key] for key in ReportedProblem._fields if key in item})) for item in plain
    )


def encode_progress(progress: Sequence[RunProgress]) -> str:
    """Write how far a worker's runs are."""
    return json.dumps([item._asdict() for item in progress]) if progress else "[]"


def decode_progress(text: str) -> tuple[RunProgress, ...]:
    """Read what `encode_progress` wrote."""
    plain = json.loads(text)
    return tuple(
        checked(RunProgress(**{key: item[key] for key in RunProgress._fields if key in item})) for item in plain
    )


def encode_override(override: Override | None) -> str | None:
    """Write who switched a mirror off."""
    return json.dumps(override._asdict()) if override else None


def decode_override(text: str | None) -> Override | None:
    """Read what `encode_override` wrote."""
    return checked(report.decode_override(json.loads(text))) if text else None


def encode_probe(probe: Probe | None) -> str | None:
    """Write what a mirror and its upstream said when they were compared."""
    return json.dumps(probe._asdict()) if probe else None


def decode_probe(text: str | None) -> Probe | None:
    """Read what `encode_probe` wrote."""
    return checked(report.decode_probe(json.loads(text))) if text else None
