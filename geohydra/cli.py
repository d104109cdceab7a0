"""The command line: finds the verb, runs it, and tells a user's mistake in one line.

A verb is a module of `geohydra.verbs` with a docstring and `main(words) -> exit code`; modules there import what is
heavy inside functions, so that help is quick.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from geohydra import __version__
from geohydra.command.console import error_lines
from geohydra.errors import ConfigError, GeohydraError, Problems

CRASHED = 70
INTERRUPTED = 130
UNREAD = 141
"""Whoever read the output went away: what shells say of a broken pipe."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code tells how it went."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _dispatch(words)
        sys.stdout.flush()
        return code
    except GeohydraError as error:
        return _mistake(error)
    except KeyboardInterrupt:
        print("geohydra: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNREAD
    except Exception as error:
        return _crash(error, words)


def verbs() -> list[str]:
    """All verbs: the modules of `geohydra.verbs`."""
    return sorted(path.stem for path in (Path(__file__).parent / "verbs").glob("[a-z]*.py"))


def split_verb(words: Sequence[str]) -> tuple[str, list[str]]:
    """The verb and what follows it; without one it is `run`. Raises ConfigError for an unknown one."""
    if not words or words[0].startswith(("-", "+", "~")) or "=" in words[0]:
        return "run", list(words)
    if words[0] not in verbs():
        from geohydra.build import near

        raise ConfigError(words[0], "there is no such command", near(words[0], verbs()))
    return words[0], list(words[1:])


def _dispatch(words: list[str]) -> int:
    if words[:1] in (["--help"], ["-h"], ["help"]):
        from geohydra.command.help_text import overview

        print(overview(verbs()))
        return 0
    if words[:1] in (["--version"], ["version"]):
        print(f"geohydra {__version__}")
        return 0
    if "-sc" in words or "--shell-completion" in words:
        from geohydra.command.completion import complete

        return complete([word for word in words if word not in ("-sc", "--shell-completion")], verbs())
    verb, rest = split_verb(words)
    return int(importlib.import_module(f"geohydra.verbs.{verb}").main(rest))


def _mistake(error: GeohydraError) -> int:
    if os.environ.get("GEOHYDRA_DEBUG") == "1":
        traceback.print_exception(error)
    for line in error_lines(error.errors if isinstance(error, Problems) else (error,)):
        print(line, file=sys.stderr)
    return error.exit_code


def _crash(error: Exception, words: Sequence[str]) -> int:
    """What no user can mend: the traceback goes to a file, and one line tells where."""
    if os.environ.get("GEOHYDRA_DEBUG") == "1":
        traceback.print_exception(error)
        return CRASHED
    text = f"geohydra {__version__} {' '.join(words)}\n\n{''.join(traceback.format_exception(error))}"
    path = Path(tempfile.gettempdir()) / f"geohydra-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    path.write_text(text)
    fact = (str(error) or type(error).__name__).splitlines()[0]
    print(f"geohydra: this is a fault of geohydra, not yours: {type(error).__name__}: {fact}; please report {path}", file=sys.stderr)
    return CRASHED
