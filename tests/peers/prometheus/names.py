"""Which metrics a page has, and which ones dashboards and alerts ask for."""

import json
import re

NAME = re.compile(r"\b(?:[a-z]+:)?fingerpost_[a-zA-Z0-9_:]+")
SELECTOR = re.compile(r"\b(fingerpost_[a-zA-Z0-9_:]+)\{([^}]*)\}")
MATCHER = re.compile(r"([a-zA-Z_][a-zA-Z0-9_]*)\s*(?:=~|!~|!=|=)")
SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? ")
LABEL = re.compile(r"([a-zA-Z_][a-zA-Z0-9_]*)=\"")
# What Prometheus adds to every series.
GIVEN_LABELS = {"job", "instance"}
SERIES_OF_ONE_NAME_MAX = 1000


class Page:
    """What pages in the text format show: the names of samples with their labels, types and help."""

    def __init__(self, *texts):
        self.names, self.types, self.help, self.series = {}, {}, {}, {}
        for text in texts:
            for name, count in self.read(text).items():
                self.series[name] = max(count, self.series.get(name, 0))

    def read(self, text):
        """Takes a page in; the series of each name on it."""
        series = {}
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                self.types[name] = kind
                suffixes = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
                # A family that nothing was counted of yet has a type and no sample.
                for suffix in suffixes:
                    self.names.setdefault(name + suffix, set())
            elif line.startswith("# HELP "):
                _, _, name, words = line.split(" ", 3)
                self.help[name] = words
            elif found := SAMPLE.match(line):
                name, labels = found.groups()
                self.names.setdefault(name, set()).update(LABEL.findall(labels or ""))
                series[name] = series.get(name, 0) + 1
        return series

    def faults(self):
        """What is not as our own rules say, beside what promtool checks."""
        for name, kind in self.types.items():
            words = self.help.get(name, "")
            if not words.endswith(".") or words.endswith(".."):
                yield f"{name}: the help text is {words!r}; it should be a phrase and one full stop"
            if not name.startswith("fingerpost_"):
                yield f"{name}: names begin with fingerpost_"
            if kind == "histogram" and "_seconds" not in name and "_jobs" not in name:
                yield f"{name}: a histogram without a unit"
        for name, count in self.series.items():
            if count > SERIES_OF_ONE_NAME_MAX:
                yield f"{name}: {count} series"

    def unknown(self, place, expression, recorded=frozenset()):
        """Names and labels in an expression that are not on the page."""
        bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', expression)
        for name in NAME.findall(bare):
            if name not in self.names and name not in recorded:
                yield f"{place}: {name} is not on /metrics"
        for name, matchers in SELECTOR.findall(bare):
            labels = self.names.get(name)
            # A family without a sample shows no labels yet.
            for label in MATCHER.findall(matchers) if labels else ():
                if label not in labels | GIVEN_LABELS:
                    yield f"{place}: {name} has no label {label}"


def of_dashboard(path):
    """The expressions of a dashboard, each with its place."""
    board = json.loads(path.read_text())
    panels = [inner for panel in board["panels"] for inner in [panel, *panel.get("panels", [])]]
    for panel in panels:
        for target in panel.get("targets", []):
            yield f"{path.name}: {panel['title']}", target["expr"]
    for variable in board.get("templating", {}).get("list", []):
        if variable["type"] == "query":
            query = variable["query"]
            yield f"{path.name}: ${variable['name']}", query if isinstance(query, str) else query["query"]


def of_rules(path, load):
    """The expressions of a file of rules, each with its place; the names that it records; its alerts."""
    rules = [rule for group in load(path.read_text())["groups"] for rule in group["rules"]]
    expressions = [(f"{path.name}: {rule.get('alert') or rule['record']}", rule["expr"]) for rule in rules]
    recorded = {rule["record"] for rule in rules if "record" in rule}
    return expressions, recorded, [rule for rule in rules if "alert" in rule]
