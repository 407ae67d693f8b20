"""The tables of README.md, made from the telemetry contract: `python -m tests.readme` writes them there."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

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

README = Path(__file__).resolve().parents[1] / "README.md"
_SECTION = re.compile(r"(<!-- telemetry: [^\n]* -->\n).*?(<!-- /telemetry -->)", re.DOTALL)


def updated(readme: str) -> str:
    """The text with its tables made anew."""
    return _SECTION.sub(lambda found: found[1] + "\n".join(_tables()) + "\n" + found[2], readme)


def _tables() -> Iterable[str]:
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
