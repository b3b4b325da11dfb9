"""The rows of the manager's API: each has a route's path, who may use it, and its input and output.

The application and its OpenAPI document are made from the same rows, so they always agree.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

WORKER, OPERATOR, READER, LISTED, ANYONE = "worker", "operator", "reader", "listed", "anyone"
SIGNED = "signed"
"""Who may use a route: the holder of a token of that scope, a listed address, anyone, or who signs with the secret of
`webhook`."""


class Parameter(NamedTuple):
    """A query parameter: its name, whether it is a whole `number` or text, and its meaning."""

    name: str
    number: bool
    meaning: str
    required: bool = False


class Endpoint(NamedTuple):
    """A route. `answer` and `body` name schemas: `report` is a whole file, `commands#state` a part of one.

    `status` and `also` are the statuses of a success, `refusals` those of errors. `handler` gets the request, and
    returns the answer or raises RejectedRequest.
    """

    method: str
    path: str
    handler: Callable[[Any], Any]
    summary: str
    answer: str
    access: str
    body: str | None = None
    parameters: tuple[Parameter, ...] = ()
    status: int = 200
    refusals: tuple[int, ...] = ()
    also: tuple[int, ...] = ()
