"""What Prometheus would scrape of a Collector."""

from __future__ import annotations

import re
import urllib.request
from collections import defaultdict

_SAMPLE = re.compile(r"(\w+)\{(.*)\} (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

Labels = frozenset[tuple[str, str]]


def scraped(port: int, name: str, *labels: str) -> dict[tuple[str, ...], float]:
    """The sums of a metric by the values of these labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        text = answer.read().decode()
    found: defaultdict[tuple[str, ...], float] = defaultdict(float)
    for metric, written, value in _SAMPLE.findall(text):
        if metric == name:
            values = dict(_LABEL.findall(written))
            found[tuple(values.get(label, "") for label in labels)] += float(value)
    return dict(found)
