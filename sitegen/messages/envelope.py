"""Whether a request's body is a valid envelope, and why not."""

import json
from typing import Any

from schemas import json_text
from schemas.config.schema_set import fits, validator
from schemas.report import PROTOCOL, Envelope, decode_envelope

_BYTES_EACH, _FEW = 8, 1_000
"""A body may have one JSON value per 8 bytes, and 1000 more, to limit memory. In reports a value takes 15 or more."""


class RejectedRequest(Exception):  # noqa: N818 - it is the outcome of the request
    """A request that is rejected, with the HTTP status and the text of the answer."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


def read(body: bytes) -> Envelope:
    """Check and decode a request's body; RejectedRequest if it is not a valid envelope."""
    plain = parse(body)
    # Before the schema, which would only reject the fields that another protocol has.
    protocol = plain.get("protocol") if isinstance(plain, dict) else None
    if isinstance(protocol, int) and abs(protocol - PROTOCOL) > 1:
        raise RejectedRequest(
            400, f"unsupported protocol {protocol}: this manager supports {PROTOCOL - 1} to {PROTOCOL + 1}"
        )
    _check(plain)
    return decode_envelope(plain)


def parse(body: bytes) -> Any:
    """Decode a body's JSON; RejectedRequest if it is not valid."""
    try:
        plain = json_text.parse(body, len(body) // _BYTES_EACH + _FEW)
        if b"\\ud" in body.lower():
            # a lone surrogate is valid JSON, but cannot be stored or shown
            plain = json.loads(json.dumps(plain, ensure_ascii=False).encode(errors="replace"))
    except json_text.TooManyValues as error:
        raise RejectedRequest(400, f"the body cannot be parsed: {error}") from error
    except ValueError as error:
        raise RejectedRequest(400, f"the body is not valid JSON: {error}") from error
    return plain


def _check(plain: Any) -> None:
    try:
        if not fits("report", plain):
            _check_strictly(plain)
    except RecursionError as deep:
        raise RejectedRequest(422, "the body is nested too deeply") from deep


def _check_strictly(plain: Any) -> None:
    # Imported for a rejected body only: the import takes 70 ms, and a valid body needs none of it.
    from jsonschema.exceptions import best_match

    error = best_match(validator("report").iter_errors(plain))
    if error is not None:
        # The message repeats the rejected value, which can be the whole body.
        raise RejectedRequest(422, f"{error.json_path}: {error.message[:500]}")
