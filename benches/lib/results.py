"""Measured figures and how they are shown."""

from dataclasses import dataclass, field
from statistics import median


@dataclass
class Result:
    """One line of the table: figures of all rounds against a target."""

    what: str
    unit: str
    figures: list[float]
    # None: shown for comparison, no target of its own.
    target: float | None = None
    at_least: bool = False
    note: str = ""
    load: float = field(default=0.0)

    @property
    def median(self) -> float:
        return median(self.figures)

    @property
    def met(self) -> bool | None:
        if self.target is None:
            return None
        return self.median >= self.target if self.at_least else self.median <= self.target

    @property
    def verdict(self) -> str:
        return {None: "", True: "met", False: "**missed**"}[self.met]

    @property
    def target_text(self) -> str:
        if self.target is None:
            return ""
        sign = "≥" if self.at_least else "≤"
        return f"{sign} {figure(self.target)} {self.unit}".strip()

    @property
    def measured(self) -> str:
        low, high = min(self.figures), max(self.figures)
        text = f"{figure(self.median)} {self.unit}".strip()
        if len(self.figures) > 1:
            text += f" ({figure(low)}–{figure(high)})"
        return text

    def line(self) -> str:
        target = f", target {self.target_text}: {self.verdict}" if self.target_text else ""
        note = f"; {self.note}" if self.note else ""
        return f"{self.what}: {self.measured}{target}{note}"

    def as_json(self) -> dict:
        keys = ("what", "unit", "figures", "target", "at_least", "note", "load")
        return {key: getattr(self, key) for key in keys} | {"median": self.median, "met": self.met}


def markdown(results: list[Result]) -> str:
    lines = ["| what | target | measured | | beside it |", "| --- | --- | --- | --- | --- |"]
    for result in results:
        cells = (result.what, result.target_text, result.measured, result.verdict, result.note)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def figure(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"
