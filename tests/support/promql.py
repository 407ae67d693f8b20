"""Answers of a store that speaks PromQL over HTTP, as Prometheus does."""

from __future__ import annotations

import json
import time
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Sample:
    """One value of an answer."""

    labels: dict[str, str]
    value: float


@dataclass(frozen=True)
class PromqlStore:
    """A store at this URL."""

    url: str

    def query(self, expression: str) -> list[Sample]:
        """The values as they are now. Raise urllib.error.HTTPError where the expression is wrong."""
        data = self._get("/api/v1/query", query=expression, time=str(time.time()), nocache="1")
        return [Sample(each["metric"], float(each["value"][1])) for each in data["result"]]

    def sums(self, expression: str, *labels: str) -> dict[tuple[str, ...], float]:
        """The values by those of these labels; an absent one is empty. No two may have the same."""
        found: dict[tuple[str, ...], float] = {}
        for sample in self.query(expression):
            key = tuple(sample.labels.get(label, "") for label in labels)
            assert key not in found, expression
            found[key] = sample.value
        return found

    def series(self, selector: str) -> list[dict[str, str]]:
        """The labels of each series of the last hour, the name among them."""
        now = time.time()
        return self._get("/api/v1/series", **{"match[]": selector, "start": str(now - 3600), "end": str(now + 60)})

    def values(self, selector: str) -> list[list[tuple[float, float]]]:
        """Time and value of all that each series has in the range of the selector."""
        data = self._get("/api/v1/query", query=selector, time=str(time.time()))
        return [[(at, float(value)) for at, value in each["values"]] for each in data["result"]]

    def firing(self) -> set[str]:
        """The names of the alerts of Prometheus that fire."""
        return {
            each["labels"]["alertname"] for each in self._get("/api/v1/alerts")["alerts"] if each["state"] == "firing"
        }

    def _get(self, path: str, **parameters: str) -> Any:
        with urllib.request.urlopen(f"{self.url}{path}?{urllib.parse.urlencode(parameters)}") as answer:
            told = json.load(answer)
        assert told["status"] == "success"
        return told["data"]
