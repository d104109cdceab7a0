"""Conditions on metrics, such as `test/iou >= 0.7 and test/f1 > 0.8`: read by a parser of its own, never evaluated as code.

condition  = either {"or" either}
either     = both {"and" both}
both       = "not" both | "(" condition ")" | comparison
comparison = operand ("<" | "<=" | ">" | ">=" | "==" | "!=") operand
operand    = a number, or the name of a metric: test/iou, test/iou/water
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from geohydra.errors import ConfigError

ALWAYS = "always"

_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
_WORD = re.compile(
    r"\s*(?:(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w/]))|(?P<name>[A-Za-z_][\w/.:-]*)|(?P<sign><=|>=|==|!=|[<>()]))"
)
_EXAMPLE = "for example: test/iou >= 0.7 and test/f1 > 0.8"

Metrics = Mapping[str, float]
_Test = Callable[[Metrics], bool]


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition that was read; `names` are the metrics that it asks for."""

    text: str
    names: tuple[str, ...]
    _test: _Test

    def holds(self, metrics: Metrics) -> bool:
        """Whether it holds. A comparison with a metric that is not there does not; see `missing`."""
        return self._test(metrics)

    def missing(self, metrics: Metrics) -> tuple[str, ...]:
        """Metrics that it asks for and that are not there."""
        return tuple(name for name in self.names if name not in metrics)

    def told(self, metrics: Metrics) -> str:
        """The condition beside what was measured."""
        known = ", ".join(f"{name} is {metrics[name]:.4g}" if name in metrics else f"there is no {name}" for name in self.names)
        return f"{self.text} ({known})" if known else self.text


def parse_condition(text: str, *, where: str) -> Condition:
    """Read a condition. Raises ConfigError that says which word is wrong."""
    if text.strip() == ALWAYS:
        return Condition(ALWAYS, (), lambda _: True)
    reader = _Reader(text, where)
    test = reader.condition()
    reader.end()
    return Condition(" ".join(text.split()), tuple(dict.fromkeys(reader.names)), test)


class _Reader:
    """Goes through the words of a condition, once."""

    def __init__(self, text: str, where: str) -> None:
        self._where = where
        self._text = text
        self._words = self._split(text)
        self._depth = 0
        self.names: list[str] = []

    def condition(self) -> _Test:
        tests = [self._either()]
        while self._take("or"):
            tests.append(self._either())
        return tests[0] if len(tests) == 1 else lambda metrics: any(test(metrics) for test in tests)

    def end(self) -> None:
        if self._words:
            raise self._wrong(f"{self._words[0]!r} is one word too many")

    def _either(self) -> _Test:
        tests = [self._both()]
        while self._take("and"):
            tests.append(self._both())
        return tests[0] if len(tests) == 1 else lambda metrics: all(test(metrics) for test in tests)

    def _both(self) -> _Test:
        self._depth += 1
        if self._depth > 50:
            raise self._wrong("it is nested too deeply")
        try:
            return self._single()
        finally:
            self._depth -= 1

    def _single(self) -> _Test:
        if self._take("not"):
            inner = self._both()
            return lambda metrics: not inner(metrics)
        if self._take("("):
            inside = self.condition()
            if not self._take(")"):
                raise self._wrong("a bracket is not closed")
            return inside
        return self._comparison()

    def _comparison(self) -> _Test:
        left = self._operand()
        sign = self._words.pop(0) if self._words else ""
        if sign not in _COMPARISONS:
            raise self._wrong(f"a comparison is needed where {sign or 'the text'!r} stands" if sign else "it ends too early")
        right, compare = self._operand(), _COMPARISONS[sign]

        def test(metrics: Metrics) -> bool:
            first, second = left(metrics), right(metrics)
            return first is not None and second is not None and compare(first, second)

        return test

    def _operand(self) -> Callable[[Metrics], float | None]:
        if not self._words:
            raise self._wrong("it ends too early")
        word = self._words.pop(0)
        if word in _COMPARISONS or word in ("(", ")", "and", "or", "not"):
            raise self._wrong(f"a metric or a number is needed where {word!r} stands")
        if re.match(r"[-+.\d]", word):
            number = float(word)
            return lambda _: number
        self.names.append(word)
        return lambda metrics: metrics.get(word)

    def _take(self, word: str) -> bool:
        taken = bool(self._words) and self._words[0] == word
        if taken:
            self._words.pop(0)
        return taken

    def _split(self, text: str) -> list[str]:
        words, place = [], 0
        while text[place:].strip():
            found = _WORD.match(text, place)
            if found is None:
                raise self._wrong(f"{text[place:].split()[0]!r} cannot be read")
            words.append(found[0].strip())
            place = found.end()
        return words

    def _wrong(self, what: str) -> ConfigError:
        return ConfigError(self._where, f"{self._text!r} is no condition: {what}", _EXAMPLE)
