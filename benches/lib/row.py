"""A row that can be measured alone."""

from collections.abc import Callable
from dataclasses import dataclass

from .results import Result
from .world import World


@dataclass(frozen=True)
class Row:
    name: str
    about: str
    measure: Callable[[World], list[Result]]
