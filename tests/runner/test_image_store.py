"""`skipjack container load`: the message about an archive that a container program cannot load."""

import io
from pathlib import Path

import pytest

from runner.containers import image_store
from schemas.errors import SkipjackError
from schemas.records import Policy, Repository, RunnerSettings

NO_DAEMON = "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?"
NO_ARCHIVE = "Error: payload does not match any of the supported image formats"


@pytest.mark.parametrize(
    ("said", "ends"),
    [
        (NO_DAEMON, "Is the docker daemon running? Start the daemon"),
        (NO_ARCHIVE, f"image formats. {image_store._TODO}"),
        ("", f"it printed no message. {image_store._TODO}"),
    ],
)
def test_a_failed_load_has_one_remedy(tmp_path: Path, said: str, ends: str) -> None:
    program = tmp_path / "docker"
    program.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 1\n")
    program.chmod(0o755)
    settings = RunnerSettings("w1", Repository("file:///none"), state_dir=str(tmp_path), container_program=str(program))
    archive = io.FileIO("/dev/null")
    with archive, pytest.raises(SkipjackError) as raised:
        image_store.load(settings, Policy(), archive)
    words = str(raised.value)
    assert ends in words and (image_store._TODO in words) == (image_store._TODO in ends), words
