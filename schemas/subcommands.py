"""Subcommands of both programs, described in one form."""

import argparse
from typing import TypeAlias

Subcommands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_subcommand(commands: Subcommands, name: str, words: str) -> argparse.ArgumentParser:
    """Add a subcommand and return its parser. `words` say what it does, from a small letter on and without a stop."""
    return commands.add_parser(name, help=words, description=f"{words[0].upper()}{words[1:]}.")
