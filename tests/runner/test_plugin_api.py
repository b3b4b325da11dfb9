"""API v1 is frozen: plug-ins that use it today must work with every later release."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runner import plugin_api
from runner.base.mirror_paths import Paths
from runner.plugin_api import Job, Mirror

RECORDED = Path(__file__).with_name("plugin_api_v1.txt")

JOB = Job(Mirror("m", "w", "git", "https://git.example.org/m"), Paths("/srv/m", "/srv", "/log"))


def names_of_job() -> list[str]:
    """The names of a job that its documentation lists as API v1."""
    text = inspect.getdoc(Job) or ""
    part = text.partition("The rest is for the built-in ones")[0].partition("API v1 has")[2]
    return sorted(set(re.findall(r"`([a-z_]+)`", part)) - {"post_success", "post_fail"})


def described() -> Iterator[str]:
    for name in sorted(plugin_api.__all__):
        value = getattr(plugin_api, name)
        if name == "Job":
            yield from (f"Job.{each}{attribute(each)}" for each in names_of_job())
        elif name == "Mirror":
            yield from (f"Mirror.{field}" for field in sorted(Mirror._fields))
        elif isinstance(value, type) and hasattr(value, "_fields"):
            yield from fields(name, value)
        elif isinstance(value, type):
            yield from members(name, value)
        else:
            yield f"{name} = {value!r}" if isinstance(value, str) else f"{name}{inspect.signature(value)}"


def attribute(name: str) -> str:
    member = inspect.getattr_static(Job, name, None)
    if isinstance(member, property):
        return f": {inspect.formatannotation(inspect.signature(member.fget or str).return_annotation)}"
    value = getattr(JOB, name)
    if member is not None:
        return str(inspect.signature(value))
    return f": ({positional(value)})" if callable(value) else f": {type(value).__name__}"


def positional(function: Any) -> str:
    """The types of arguments that have no names for callers."""
    found = [each.annotation for each in inspect.signature(function).parameters.values()]
    return ", ".join(each if isinstance(each, str) else inspect.formatannotation(each) for each in found)


def fields(name: str, record: Any) -> Iterator[str]:
    known = record._fields[:5] if name == "Command" else record._fields
    for number, field in enumerate(known):
        default = f" = {record._field_defaults[field]!r}" if field in record._field_defaults else ""
        yield f"{name}[{number}] {field}{default}"


def members(name: str, kind: type) -> Iterator[str]:
    yield f"{name}({', '.join(each.__name__ for each in kind.__mro__ if issubclass(each, Exception))})"
    own = "__init__" if issubclass(kind, Exception) else ""
    for member, value in vars(kind).items():
        if inspect.isfunction(value) and (not member.startswith("_") or member == own):
            yield f"{name}.{member}{inspect.signature(value)}"


def test_api_v1_is_as_it_was_recorded() -> None:
    """Never change or remove a line of the record. A new part of the API is a new line."""
    assert "\n".join(described()) + "\n" == RECORDED.read_text("utf-8")


def test_all_that_v1_lists_for_a_job_exists() -> None:
    assert [name for name in names_of_job() if not hasattr(JOB, name)] == []
    assert {"mirror", "directory", "note", "keys", "execute"} <= set(names_of_job())


def test_a_job_returns_the_keys_of_a_plug_in() -> None:
    mirror = JOB.mirror._replace(plugins={"git": {"depth": 1}})
    job = Job(mirror, JOB.paths)
    assert job.keys("git") == {"depth": 1}
    assert job.keys("announce") == {}
