"""A searched field: a range of numbers or a list of values, and how to write one."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, get_type_hints

from optuna.trial import Trial

from fgbg.config import TrainConfig
from fgbg.data.augment_ranges import AugmentRanges
from fgbg.errors import UserError, unknown_name

_OTHER_SCORES = "with it other photos or another truth would be scored, so that trials could not be compared"
_ONLY_SPEED = "it changes how fast a trial is, not how good"
NOT_SEARCHED = {
    **dict.fromkeys(("data", "border", "split", "split_seed", "group_by", "folds", "fold", "only"), _OTHER_SCORES),
    **dict.fromkeys(("allow_overlap", "object_values", "categories"), _OTHER_SCORES),
    **dict.fromkeys(("device", "threads", "compile", "cuda_graphs"), _ONLY_SPEED),
    "out": "every trial has its own folder",
    "init": "all trials start from the same model",
    "seed": "the best of many seeds is luck, which the next seed does not repeat",
    "threshold_for": "trials are compared at threshold 0.5",
    "track": "it changes nothing that is trained",
    "selfcheck": "it changes nothing that is trained",
}
"""Fields that cannot be searched, and why."""

GRAMMAR = "LOW..HIGH, LOW..HIGH:log, LOW..HIGH:STEP, or A,B,C"
_RANGE = re.compile(r"(?P<low>.+?)\.\.(?P<high>[^:]+)(?::(?P<how>.+))?")


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included: uniform, in steps of `step`, or uniform on a log scale."""

    name: str
    low: float
    high: float
    log: bool = False
    step: float | None = None

    @property
    def ends(self) -> tuple[float, ...]:
        """The values to check before the search."""
        return (self.low, self.high)

    @property
    def count(self) -> float:
        """How many values there are; infinite for a continuous range."""
        step = self.step or (1 if isinstance(self.low, int) else 0)
        return round((self.high - self.low) / step) + 1 if step else math.inf

    def value_at(self, share: float) -> float:
        """The value at a share of the range, from 0 to below 1.

        >>> Range("width", 16, 64, step=16).value_at(0.3), Range("augment.hue", 0.1, 0.3).value_at(0.5)
        (32, 0.2)
        """
        if self.log:
            end = self.high + 1 if isinstance(self.high, int) else self.high  # int() rounds down: give `high` its share too
            value = self.low * (end / self.low) ** share
            return min(max(int(value) if isinstance(self.low, int) else value, self.low), self.high)
        if math.isinf(self.count):
            return self.low + share * (self.high - self.low)
        return self._step_up(int(share * self.count))

    def holds(self, value: object) -> bool:
        """Whether a trial could have this value."""
        if not isinstance(value, (int, float)) or not self.low <= value <= self.high:
            return False
        steps = (value - self.low) / self.step if self.step else 0.0
        return abs(steps - round(steps)) < 1e-8

    def suggest(self, trial: Trial) -> float:
        """The value that the trial should use."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(self.name, self.low, self.high, log=self.log, step=int(self.step or 1))
        return self.clean(trial.suggest_float(self.name, self.low, self.high, log=self.log, step=self.step))

    def clean(self, value: float) -> float:
        """A trial's value without the rounding of floats, where the range has steps."""
        return self._step_up(round((value - self.low) / self.step)) if self.step else value

    def _step_up(self, steps: int) -> float:
        """The value that many steps above `low`, counted in decimals: as floats 3 * 0.1 is more than 0.3."""
        step = self.step or 1
        if isinstance(self.low, int):
            return self.low + steps * int(step)
        return float(Decimal(str(self.low)) + steps * Decimal(str(step)))

    def __str__(self) -> str:
        """As written after `--over NAME=`."""
        how = ":log" if self.log else f":{_say_number(self.step)}" if self.step else ""
        return f"{_say_number(self.low)}..{_say_number(self.high)}{how}"

    def to_toml(self) -> str:
        """As written in a TOML file."""
        return json.dumps(str(self))


@dataclass(frozen=True)
class Choice:
    """A list of unordered values."""

    name: str
    values: tuple[Any, ...]

    @property
    def ends(self) -> tuple[Any, ...]:
        """The values to check before the search."""
        return self.values

    @property
    def count(self) -> float:
        """How many values there are."""
        return len(self.values)

    def value_at(self, share: float) -> Any:
        """The value at a share of the list, from 0 to below 1."""
        return self.values[int(share * len(self.values))]

    def holds(self, value: object) -> bool:
        """Whether a trial could have this value."""
        return value in self.values

    def suggest(self, trial: Trial) -> Any:
        """The value that the trial should use."""
        return trial.suggest_categorical(self.name, self.values)

    def clean(self, value: Any) -> Any:
        """A trial's value, as it is."""
        return value

    def __str__(self) -> str:
        """As written after `--over NAME=`."""
        return ",".join(json.dumps(value) if isinstance(value, bool) else str(value) for value in self.values)

    def to_toml(self) -> str:
        """As written in a TOML file."""
        return json.dumps(list(self.values))


def _say_number(value: float) -> str:
    """A number with all its digits; 60.0 as 60."""
    return repr(value).removesuffix(".0")


Field = Range | Choice


def read_field(name: str, what: Any) -> Field:
    """A field and what it is searched over.

    Args:
        name: As in a configuration file.
        what: A list of values, or a text as in GRAMMAR.

    Raises:
        UserError: An unknown field, one that cannot be searched, or neither a range nor a list.
    """
    kinds = kinds_of_fields()
    if name in NOT_SEARCHED:
        raise UserError(f"{name} cannot be searched: {NOT_SEARCHED[name]}")
    if name not in kinds:
        raise unknown_name("setting to search", name, [known for known in kinds if known not in NOT_SEARCHED])
    kind = kinds[name]
    if isinstance(what, str):
        found = _RANGE.fullmatch(what.strip())
        if found:
            return _read_range(name, kind, what, **found.groupdict())
        words: Sequence[Any] = [word.strip() for word in what.split(",")]
        values = tuple(_read_word(name, kind, word) for word in words)
    elif isinstance(what, (list, tuple)):
        values = tuple(float(value) if kind is float and type(value) is int else value for value in what)
    else:
        values = ()
    if len(values) < 2 or not all(isinstance(value, (str, int, float)) for value in values):
        raise UserError(f"{name}={what} is no search: give {GRAMMAR}")
    if len(set(values)) < len(values):
        raise UserError(f"{name}={what} names a value twice: leave one out")
    return Choice(name, values)


def kinds_of_fields() -> dict[str, Any]:
    """The type of every field, by its name in a file, in the order of `TrainConfig`."""
    kinds = {name: kind for name, kind in get_type_hints(TrainConfig).items() if name != "augment"}
    return {**kinds, **{f"augment.{name}": kind for name, kind in get_type_hints(AugmentRanges).items()}}


def _read_range(name: str, kind: Any, what: str, low: str, high: str, how: str | None) -> Range:
    if kind not in (int, float):
        raise UserError(f"{name}={what}: {name} is no number, so that it has no range; list its values, as in A,B,C")
    start, end = _read_word(name, kind, low), _read_word(name, kind, high)
    if not start < end or math.isinf(end - start):
        raise UserError(f"{name}={what}: a range goes from a lower to a higher number")
    if how == "log":
        if start <= 0:
            raise UserError(f"{name}={what}: with :log a range must lie above 0")
        return Range(name, start, end, log=True)
    if how is None:
        return Range(name, start, end)
    step = _read_word(name, kind, how)
    if not 0 < step <= end - start:
        raise UserError(f"{name}={what}: after the colon stands log, or a step above 0 that the range has room for")
    count = round((end - start) / step)
    if not math.isclose(start + count * step, end):
        raise UserError(f"{name}={what}: steps of {step} from {start} do not meet {end}; end at {start + count * step:g}")
    return Range(name, start, end, step=step)


def _read_word(name: str, kind: Any, word: str) -> Any:
    """A value from the command line.

    Raises:
        UserError: It is not of the field's type.
    """
    try:
        if kind is bool:
            return {"true": True, "false": False}[word.lower()]
        if kind in (int, float):
            value = kind(word)
            if not math.isfinite(value):
                raise ValueError
            return value
    except (ValueError, KeyError):
        wanted = {bool: "true or false", int: "a whole number", float: "a number"}[kind]
        raise UserError(f"{name}: '{word}' is not {wanted}; give {GRAMMAR}") from None
    return word
