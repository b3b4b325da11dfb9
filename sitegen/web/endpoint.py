"""One row of the manager's API: what a route is called, who may use it, what goes in and what comes out.

The application and its OpenAPI document are made from the same rows, so neither can say what the other does not.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

WORKER, OPERATOR, READER, LISTED, ANYONE = "worker", "operator", "reader", "listed", "anyone"
"""Who may use a route: the holder of a token of that scope, a listed address, or everybody."""


class Parameter(NamedTuple):
    """A parameter of a query: a name, whether it is a whole `number` or text, its meaning."""

    name: str
    number: bool
    meaning: str
    required: bool = False


class Endpoint(NamedTuple):
    """A route; `answer` and `body` name schemas, as in `commands#state` for a part and `report` for a whole one.

    `also` are statuses of the same answer beside the usual one.
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
