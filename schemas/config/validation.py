"""Check a document against its JSON Schema: `schemas.config.schema_messages` words the problems."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from schemas.config.schema_messages import Explanation, Fault, is_number_among_texts
from schemas.config.schema_set import OWN, SchemaSet, fits, validator
from schemas.config.yaml_file import WHOLE, Document
from schemas.problems import SCHEMA, Problem


def examine(name: str, document: Document, schemas: SchemaSet = OWN) -> Document:
    """Return the document with all problems of the YAML parser and of the schema, and their paths.

    A value with a problem from the parser gets none from the schema: it would repeat the first one. The name of its key
    is judged all the same. A number in a list of texts is a problem, and is text in the returned document.
    """
    if () in document.wrong:
        return document
    if not isinstance(document.value, dict):
        what = document.problem((), "The file must contain keys and values.", "Write lines like `key: value`.")
        return document._replace(problems=(*document.problems, what._replace(rule=SCHEMA)), wrong=WHOLE)
    if fits(name, document.value, schemas):
        return document
    explanation = Explanation(name, document, schemas)
    faults: list[Fault] = []
    value, numbers = document.value, set()
    for error in validator(name, schemas).iter_errors(document.value):
        path = tuple(error.absolute_path)
        found = [
            fault
            for fault in explanation.faults(error)
            if not _is_below(fault.path[:-1] if fault.of_key else fault.path, document.wrong)
        ]
        faults += found
        if found and is_number_among_texts(error):
            value = _with_text(value, path)
            numbers.add(path)
    meant = {path for fault in faults for path in explanation.meant_keys(fault)}
    return document._replace(
        value=value,
        problems=(*document.problems, *_problems(faults, value)),
        wrong=document.wrong | meant | {fault.path for fault in faults if not fault.usable} - numbers,
    )


def _with_text(value: Any, path: Sequence[str | int]) -> Any:
    """Return a copy of a value in which the number at `path` is text."""
    if not path:
        return str(value)
    copy = value.copy()
    copy[path[0]] = _with_text(value[path[0]], path[1:])
    return copy


def _problems(faults: Collection[Fault], value: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield the problems of faults; the keys of an unknown provider are not a problem beside its name."""
    unknown = value.get("provider") if any(fault.path == ("provider",) for fault in faults) else None
    yield from (fault.problem._replace(rule=SCHEMA) for fault in faults if fault.path != (unknown,))


def _is_below(path: Sequence[str | int], paths: Collection[Sequence[str | int]]) -> bool:
    return any(tuple(path[: len(each)]) == tuple(each) for each in paths)
