"""Mirrors whose real folders overlap with those of another mirror; only the machine knows where links lead.

What definitions alone show is checked by schemas/config/cross_checks.py.
"""

import os
from collections.abc import Iterator

from runner.plan.plan import Planned, PlanProblem


def directories(mirrors: list[Planned]) -> tuple[list[Planned], list[PlanProblem]]:
    """Drop mirrors whose directory is really that of another one, or inside it; return a problem for each."""
    owners: dict[str, str] = {}
    apart: list[Planned] = []
    problems: list[PlanProblem] = []
    # Outer directories have shorter paths, so they come first and stay.
    for each in sorted(mirrors, key=lambda each: len(os.path.realpath(each.paths.directory))):
        name, real = each.mirror.name, os.path.realpath(each.paths.directory)
        outer = next((owners[folder] for folder in _upwards(real) if folder in owners), None)
        if outer is None:
            owners[real] = name
            apart.append(each)
        else:
            what = f"The directory {each.paths.directory} lies in that of `{outer}`, whose sync would delete its files."
            problems.append((name, f"{name}.yml", what, "Set another `mirror_subdir` or `mirror_dir`."))
    return apart, problems


def logs(mirrors: list[Planned]) -> tuple[list[Planned], list[PlanProblem]]:
    """Drop mirrors whose `log_dir` is really another mirror's log folder, or inside a folder that one writes to."""
    owners: dict[str, str] = {}
    problems: list[PlanProblem] = []
    # Mirrors without a `log_dir` come first: of two, the one that chose its place has to go.
    for each in sorted(mirrors, key=lambda each: each.mirror.log_dir is not None):
        name, folder = each.mirror.name, each.paths.log_dir
        owner = owners.setdefault(os.path.realpath(folder), name)
        if owner != name:
            todo = "Set another one, or leave it out: each mirror's logs need a folder of their own."
            problems.append((name, f"{name}.yml", f"`log_dir` {folder} is the log folder of `{owner}`.", todo))
    problems += _exposed_logs(mirrors)
    names = {name for name, *_words in problems}
    return [each for each in mirrors if each.mirror.name not in names], problems


def _exposed_logs(mirrors: list[Planned]) -> Iterator[PlanProblem]:
    """Yield mirrors whose `log_dir` is where an upstream or a container of another mirror could put a link."""
    if all(each.mirror.log_dir is None for each in mirrors):
        return
    held = {os.path.realpath(each.paths.directory): each.mirror.name for each in mirrors}
    held |= {os.path.realpath(each.paths.log_dir): each.mirror.name for each in mirrors if each.mirror.docker_image}
    for each in mirrors:
        name, folder = each.mirror.name, os.path.realpath(each.paths.log_dir)
        owner = next((held[above] for above in _upwards(folder) if held.get(above, name) != name), None)
        if owner is None:
            continue
        loser, other = (name, owner) if each.mirror.log_dir is not None else (owner, name)
        what = f"The logs of `{name}` in {each.paths.log_dir} would be in a folder that `{owner}` writes to."
        yield loser, f"{loser}.yml", what, f"Set another `log_dir`, outside of `{other}`'s folders, or leave it out."


def _upwards(path: str) -> Iterator[str]:
    while path != "/":
        yield path
        path = os.path.dirname(path)
