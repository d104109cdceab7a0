"""Every error that a user can cause: where it is, what is wrong, what would be right."""

from __future__ import annotations


class GeohydraError(Exception):
    """A mistake that the user can mend: the command line prints it in one line, without a traceback.

    `where` names the place (a config key, a file), `problem` the fact, `hint` what would be right.
    """

    exit_code = 1

    def __init__(self, where: str, problem: str, hint: str = "") -> None:
        super().__init__(where, problem, hint)
        self.where = where
        self.problem = problem
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.where}: {self.problem}" if self.where else self.problem
        return f"{text}; {self.hint}" if self.hint else text


class ConfigError(GeohydraError):
    """The composed config cannot mean anything."""

    exit_code = 2


class DataError(GeohydraError):
    """A file that was given cannot be used as it is."""

    exit_code = 3


class StoreError(GeohydraError):
    """The store, or a disk below it, does not take or give what it should."""

    exit_code = 4


class StepError(GeohydraError):
    """A step of a plan failed; the hint names its log."""

    exit_code = 5


class EngineError(GeohydraError):
    """The cluster does not answer, or refuses; `passing` is what may be over in a moment."""

    exit_code = 6
    passing = False


class Problems(GeohydraError):
    """Several errors found at once: each stands on its own line."""

    def __init__(self, errors: list[GeohydraError]) -> None:
        super().__init__("", f"{len(errors)} problems")
        self.errors = tuple(errors)
        self.exit_code = max(error.exit_code for error in errors)

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)
