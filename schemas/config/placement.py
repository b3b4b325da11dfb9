"""Which workers have a mirror, which keys differ on each, and which of them has the master copy."""

from collections.abc import Iterator, Mapping, Sequence

from schemas.config.inheritance import Layer, Merged
from schemas.config.judgeable_keys import entries, is_known
from schemas.names import is_name
from schemas.problems import Problem

MASTER, SLAVE = "master", "slave"

_OF_ALL = ("worker", "category")
"""Keys that concern the mirror as a whole, not one worker."""


def workers_of(merged: Merged) -> Iterator[str]:
    """Yield the workers that a mirror's keys name, in their order in the file."""
    keys = merged.keys
    # An invalid name is a problem of the schema already.
    value = keys.get("worker", []) if is_known(keys, "worker") else [name for _, name in entries(keys, "worker")]
    yield from filter(is_name, [value] if isinstance(value, str) else value)


def with_differences(layers: Sequence[Layer], worker: str) -> list[Layer]:
    """Return the layers with the keys for this worker only, right above the layer that names the workers."""
    named = [place for place, layer in enumerate(layers) if layer.has("worker")]
    if not named or not layers[named[-1]].has("worker", worker):
        return list(layers)
    place, layer = named[-1], layers[named[-1]]
    return [*layers[: place + 1], Layer(layer.document, (*layer.base, "worker", worker)), *layers[place + 1 :]]


def problems(found: Mapping[str, Merged]) -> Iterator[Problem]:
    """Yield the problems of a mirror on several workers, from the keys that apply on each."""
    for worker, merged in found.items():
        for layer in merged.layers:
            for key in [key for key in _OF_ALL if layer.base[-2:] == ("worker", worker) and layer.has(key)]:
                what = f"`{key}` cannot differ on `{worker}`."
                yield layer.document.problem((*layer.base, key), what, "Set it for the mirror as a whole.")
    masters = [worker for worker, merged in found.items() if merged.keys.get("role") == MASTER]
    if len(masters) > 1:
        what = f"The mirror has {len(masters)} masters: {', '.join(f'`{name}`' for name in masters)}."
        todo = "Write `role: slave` for all but one, or leave `role` out: then the first worker is the master."
        yield found[masters[1]].problem("role", what, todo)


def roles(found: Mapping[str, Merged]) -> dict[str, str]:
    """Return the role on each worker. Without `role` the first worker is the master, unless another one claims it."""
    said = {worker: merged.keys.get("role") for worker, merged in found.items()}
    silent = [worker for worker, role in said.items() if role is None]
    first = silent[0] if silent and MASTER not in said.values() else None
    return {worker: role or (MASTER if worker == first else SLAVE) for worker, role in said.items()}
