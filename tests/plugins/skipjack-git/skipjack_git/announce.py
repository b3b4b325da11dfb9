"""The hook `announce`: after each success, a file for other programs in the mirror's log folder."""

import os
import time

from runner.plugin_api import Job


def post_success(job: Job) -> None:
    """Replace the file. If that fails, complain: the mirror itself has been synced."""
    keys = job.keys("announce")
    path = os.path.join(job.log_dir, keys["file"])
    try:
        _replace(path, _filled(keys["text"], job) + "\n")
    except OSError as error:
        job.complain(f"cannot write the announcement `{path}`: {error.strerror}")


def _filled(text: str, job: Job) -> str:
    """Return the text with the facts in it. Other braces stay: `str.format` would let them reach into Python."""
    facts = {
        "{name}": job.mirror.name,
        "{upstream}": job.mirror.upstream,
        "{time}": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    for word, fact in facts.items():
        text = text.replace(word, fact)
    return text


def _replace(path: str, text: str) -> None:
    """Write a new file and rename it, so that readers never see half of it."""
    new = f"{path}.new"
    with open(new, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(new, path)
