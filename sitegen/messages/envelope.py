"""From the bytes of a request to an envelope that the schema allows, or a refusal that says what is wrong."""

import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from schemas import json_text
from schemas.config import quick
from schemas.names import is_name
from schemas.report import PROTOCOL, Envelope, decode_envelope

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator


_BYTES_EACH, _FEW = 8, 1_000
"""A body has at most one value for so many bytes, and a few more. In reports a value takes 15 and more."""


class RejectedRequest(Exception):  # noqa: N818 - it is what happened to the request, and reads so at every raise
    """A request that is not taken, with the HTTP status and the words of the answer."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


def read(body: bytes) -> Envelope:
    """Check a request's body and decode it; RejectedRequest when it is no envelope."""
    plain = parse(body)
    protocol = plain.get("protocol") if isinstance(plain, dict) else None
    if isinstance(protocol, int) and abs(protocol - PROTOCOL) > 1:
        raise RejectedRequest(400, f"protocol {protocol} is not spoken here, only {PROTOCOL} and its neighbours")
    _check(plain)
    envelope = decode_envelope(plain)
    _check_names(envelope)
    return envelope


def parse(body: bytes) -> Any:
    """Decode a body's JSON; RejectedRequest when it is none."""
    try:
        plain = json_text.parse(body, len(body) // _BYTES_EACH + _FEW)
        if b"\\ud" in body.lower():
            # a lone surrogate is valid JSON, but no text that could be stored or shown
            plain = json.loads(json.dumps(plain, ensure_ascii=False).encode(errors="replace"))
    except json_text.TooManyValues as error:
        raise RejectedRequest(400, f"the body cannot be parsed: {error}") from error
    except ValueError as error:
        raise RejectedRequest(400, f"the body is no JSON: {error}") from error
    return plain


def _check(plain: Any) -> None:
    try:
        if _quick()(plain):
            return
        _check_strictly(plain)
    except RecursionError as deep:
        raise RejectedRequest(422, "the body is nested too deeply") from deep


def _check_strictly(plain: Any) -> None:
    from jsonschema.exceptions import best_match

    error = best_match(_validator().iter_errors(plain))
    if error is not None:
        raise RejectedRequest(422, f"{error.json_path}: {error.message[:500]}")


def _check_names(envelope: Envelope) -> None:
    """Names become file names, and in the schema's patterns `$` allows a line break at the end."""
    mirrors = {status.mirror for report in envelope.reports for status in report.statuses}
    mirrors |= {mirror for report in envelope.reports for mirror, _ in report.runs}
    for name in mirrors | {envelope.worker}:
        if not is_name(name):
            raise RejectedRequest(422, f"{name!r} is no name")


@cache
def _schema() -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((files("schemas") / "files" / "report.schema.json").read_bytes())
    return schema


@cache
def _quick() -> quick.Test:
    return quick.compile_schema(_schema())


@cache
def _validator() -> "Draft202012Validator":
    from jsonschema import Draft202012Validator

    return Draft202012Validator(_schema())
