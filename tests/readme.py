"""The tables of README.md, made from the code that they restate: `python -m tests.readme` writes them there."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from pathlib import Path

from otel_tcplife.attribute import Attribute, Definition
from otel_tcplife.conventions import ATTRIBUTES, ENTITY_ATTRIBUTES, EVENT_NAMES
from otel_tcplife.error_types import ERROR_TYPES
from otel_tcplife.instruments import COUNTERS, HISTOGRAMS, METRIC_ATTRIBUTES, SUMS
from otel_tcplife.options import OPTIONS, Option, Scope
from otel_tcplife.own_metrics import OPERATION_DURATION, OWN_COUNTERS
from tests.kernels import facts as kernels

README = Path(__file__).resolve().parents[1] / "README.md"
_SECTION = re.compile(r"(<!-- (telemetry|options|kernels): [^\n]* -->\n).*?(<!-- /\2 -->)", re.DOTALL)


def updated(readme: str) -> str:
    """The text with its tables made anew."""
    sections = {"telemetry": _telemetry, "options": _options, "kernels": _kernels}
    return _SECTION.sub(lambda found: found[1] + "\n".join(sections[found[2]]()) + "\n" + found[3], readme)


def python_example(word: str) -> str:
    """The one example in Python that has this word."""
    examples = re.findall(r"^ *```python\n(.*?)^ *```$", README.read_text(), re.DOTALL | re.MULTILINE)
    [example] = [example for example in examples if word in example]
    return textwrap.dedent(example)


def _options() -> Iterable[str]:
    """The variables, each with what it means."""
    rows = ((f"`{option.variable}`", _meaning(option)) for option in OPTIONS if option.variable)
    yield from _table(("variable", "meaning"), rows)


def _meaning(option: Option[object]) -> str:
    flags = " and ".join(f"`{flag.spellings[0]}`" for flag in option.flags)
    return f"{option.help.rstrip('.')}{flags and f', as {flags}'}; {_default(option)}"


def _default(option: Option[object]) -> str:
    shown = {
        scope: f"`{value.value}`" if isinstance(value, Scope) else str(value) for scope, value in option.default.items()
    }
    if len({*shown.values()}) > 1:
        return ", ".join(f"{value} for a {scope.value}" for scope, value in shown.items())
    return f"{option.default_text or shown[Scope.HOST]} by default"


def _kernels() -> Iterable[str]:
    """What is known on which kernel."""
    header, *facts = kernels.rows()
    yield from _table(header, facts)


def _telemetry() -> Iterable[str]:
    closed, failed, progress = EVENT_NAMES.values()
    yield f"Events: `{closed}`, `{failed}` for a connect that never reached ESTABLISHED, and, where interim reports are"
    yield f"asked for, `{progress}`."
    yield ""
    yield from _attributes(ATTRIBUTES)
    yield ""
    yield "Attributes of the resource, for sessions of a container or a pod; in the plugin, of the record:"
    yield ""
    yield from _attributes(ENTITY_ATTRIBUTES)
    yield ""
    yield from _table(("`error.type`", "why"), ((f"`{name}`", why) for name, why in ERROR_TYPES.items()))
    yield ""
    rows = [(f"`{each.name}`", f"histogram, `{each.unit}`", each.brief) for each in HISTOGRAMS]
    rows += [(f"`{each.name}`", f"counter, `{each.unit}`", each.brief) for each in SUMS]
    rows += [
        (f"`{each.name}`", f"{each.instrument}, `{each.unit}`", f"{each.brief} By {_names(each.attributes)}.")
        for each in COUNTERS
    ]
    yield from _table(("metric", "instrument, unit", "meaning"), rows)
    yield ""
    yield f"Attributes of the histograms: {_names(METRIC_ATTRIBUTES)}."
    yield "`tcplife.session.io` also has `network.io.direction`, and `error.type` of `tcplife.handshake.duration` is"
    yield "that of a connect that failed. `tcplife.retransmits` has the same without `error.type`, and so has"
    yield "`tcplife.io` with `network.io.direction`."
    yield ""
    own = ", ".join(f"`{each.name}`" for each in (*OWN_COUNTERS, OPERATION_DURATION))
    yield f"Of itself, the host agent says: {own}."


def _names(attributes: Iterable[Definition]) -> str:
    return ", ".join(f"`{attribute.name}`" for attribute in attributes)


def _attributes(attributes: Iterable[Attribute]) -> Iterable[str]:
    return _table(("attribute", "type", "value"), ((f"`{each.name}`", each.kind, _brief(each)) for each in attributes))


def _brief(attribute: Attribute) -> str:
    return f"{attribute.brief}; with `{attribute.option.variable}`" if attribute.option else attribute.brief


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterable[str]:
    for cells in (header, ("---",) * len(header), *rows):
        yield f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    README.write_text(updated(README.read_text()))
