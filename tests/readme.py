"""The tables of README.md, made from the code that they restate: `python -m tests.readme` writes them there."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from otel_tcplife import environment_variables
from otel_tcplife.conventions import (
    ACTIVE,
    ATTRIBUTES,
    EVENT_NAMES,
    EXPORT_RECORDS,
    EXPORTER,
    HISTOGRAMS,
    METRIC_ATTRIBUTES,
    OUTCOME,
    PROBE_SESSIONS,
)
from otel_tcplife.options import OPTIONS

README = Path(__file__).resolve().parents[1] / "README.md"
_SECTION = re.compile(r"(<!-- (telemetry|options): [^\n]* -->\n).*?(<!-- /\2 -->)", re.DOTALL)


def updated(readme: str) -> str:
    """The text with its tables made anew."""
    sections = {"telemetry": _telemetry, "options": _options}
    return _SECTION.sub(lambda found: found[1] + "\n".join(sections[found[2]]()) + "\n" + found[3], readme)


def python_example(word: str) -> str:
    """The one example in Python that has this word."""
    examples = re.findall(r"^ *```python\n(.*?)^ *```$", README.read_text(), re.DOTALL | re.MULTILINE)
    [example] = [example for example in examples if word in example]
    return textwrap.dedent(example)


def _options() -> Iterable[str]:
    """The variables, each with the text that stands under it."""
    lines = ast.parse(Path(environment_variables.__file__).read_text()).body
    rows: list[tuple[str, str]] = []
    for name, text in pairwise(lines):
        if isinstance(name, ast.Assign) and isinstance(name.value, ast.Constant) and isinstance(text, ast.Expr):
            rows.append((f"`{ast.literal_eval(name.value)}`", " ".join(str(ast.literal_eval(text.value)).split())))
    assert [variable.strip("`") for variable, _ in rows] == [
        *(f"OTEL_PYTHON_TCPLIFE_{option.upper()}" for option in OPTIONS if option != "pid"),
        *environment_variables.OF_FILES,
    ]
    yield from _table(("variable", "meaning"), rows)


def _telemetry() -> Iterable[str]:
    closed, failed, progress = EVENT_NAMES.values()
    yield f"Events: `{closed}`, `{failed}` for a connect that never reached ESTABLISHED, and, where interim reports are"
    yield f"asked for, `{progress}`."
    yield ""
    yield from _table(
        ("attribute", "type", "value"), ((f"`{each.name}`", each.kind, each.brief) for each in ATTRIBUTES)
    )
    yield ""
    counters = (
        (ACTIVE, "updowncounter", ""),
        (PROBE_SESSIONS, "counter", f" By `{OUTCOME}`."),
        (EXPORT_RECORDS, "counter", f" By `{EXPORTER}` and `{OUTCOME}`."),
    )
    rows = [(f"`{each.name}`", f"histogram, `{each.unit}`", each.brief) for each in HISTOGRAMS]
    rows += [(f"`{each.name}`", f"{kind}, `{each.unit}`", each.brief + by) for each, kind, by in counters]
    yield from _table(("metric", "instrument, unit", "meaning"), rows)
    yield ""
    names = ", ".join(f"`{attribute.name}`" for attribute in METRIC_ATTRIBUTES)
    yield f"Attributes of the histograms: {names}; `tcplife.session.io` also has `network.io.direction`."


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterable[str]:
    for cells in (header, ("---",) * len(header), *rows):
        yield f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    README.write_text(updated(README.read_text()))
