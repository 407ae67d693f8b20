"""The views of docs/sql/, made from the contract: `python -m tests.sql` writes them there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from otel_tcplife.attribute import Kind
from otel_tcplife.conventions import ATTRIBUTES, ENTITY_ATTRIBUTES

DIRECTORY = Path(__file__).resolve().parents[1] / "docs" / "sql"

_VALUE = {"string": "stringValue", "int": "intValue", "double": "doubleValue", "boolean": "boolValue"}
"""The fields of OTLP's AnyValue that our attributes are in."""

_DUCKDB: dict[Kind, str] = {"string": "VARCHAR", "int": "BIGINT", "double": "DOUBLE", "boolean": "BOOLEAN"}
_CHDB: dict[Kind, str] = {"string": "String", "int": "Int64", "double": "Float64", "boolean": "Bool"}


def _duckdb_type() -> str:
    """That of the field resourceLogs, as far as it is read."""
    value = ", ".join(f'"{field}" {_DUCKDB[kind]}' for kind, field in _FIELDS)
    key_values = f'STRUCT("key" VARCHAR, "value" STRUCT({value}))[]'
    log = (
        '"timeUnixNano" BIGINT, "severityText" VARCHAR, "eventName" VARCHAR, '
        f'"body" STRUCT("stringValue" VARCHAR), "attributes" {key_values}'
    )
    return f'STRUCT("resource" STRUCT("attributes" {key_values}), "scopeLogs" STRUCT("logRecords" STRUCT({log})[])[])[]'


def duckdb_view() -> str:
    """A view with one row for each log record of the files logs.jsonl and logs.jsonl.N of the working directory."""
    return f"""-- One row for each log record in logs.jsonl and the older files beside it, of the working directory:
--
--   duckdb -init sessions.duckdb.sql
--
-- Made by `python -m tests.sql` from otel_tcplife/conventions.py.

CREATE OR REPLACE VIEW sessions AS
WITH record AS (
    SELECT resource, unnest(logs.logRecords) AS log
    FROM (
        SELECT of_resource.resource AS resource, unnest(of_resource.scopeLogs) AS logs
        FROM (
            SELECT unnest(resourceLogs) AS of_resource
            FROM read_json('logs.jsonl*', format = 'newline_delimited', maximum_object_size = 67108864,
                columns = {{resourceLogs: '{_duckdb_type()}'}})
        )
    )
), keyed AS (
    SELECT log, {_map("log")} AS of_log, {_map("resource")} AS of_resource
    FROM record
)
SELECT
    make_timestamp_ns(log.timeUnixNano) AS "timestamp",
    log.eventName AS event,
    log.severityText AS severity,
    log.body.stringValue AS body,
    of_resource['host.name'].stringValue AS host_name,
{_columns(lambda source, name, kind: f"{source}['{name}'].{_VALUE[kind]}")}
FROM keyed;
"""


def _map(of: str) -> str:
    return (
        f"map_from_entries(list_transform({of}.attributes, lambda each: struct_pack(k := each.key, v := each.value)))"
    )


def chdb_view() -> str:
    """The same for the engine of ClickHouse, where columns are Nullable."""
    value = ", ".join(f"{field} Nullable({_CHDB[kind]})" for kind, field in _FIELDS)
    key_values = f"Array(Tuple(key String, value Tuple({value})))"
    log = (
        "timeUnixNano Int64, severityText String, eventName String, body Tuple(stringValue String), "
        f"attributes {key_values}"
    )
    resource_logs = (
        f"Array(Tuple(resource Tuple(attributes {key_values}), scopeLogs Array(Tuple(logRecords Array(Tuple({log}))))))"
    )
    return f"""-- One row for each log record in logs.jsonl and the older files beside it, of the working directory:
--
--   clickhouse local --queries-file sessions.chdb.sql, or chdb.session.Session().query() of this text
--
-- Made by `python -m tests.sql` from otel_tcplife/conventions.py.

CREATE OR REPLACE VIEW sessions AS
SELECT
    fromUnixTimestamp64Nano(log.timeUnixNano) AS timestamp,
    log.eventName AS event,
    log.severityText AS severity,
    log.body.stringValue AS body,
    {_first("resource", "host.name")}.stringValue AS host_name,
{_columns(lambda source, name, kind: f"{_first(_CHDB_SOURCE[source], name)}.{_VALUE[kind]}")}
FROM (
    SELECT of_resource.resource AS resource, arrayJoin(arrayJoin(of_resource.scopeLogs).logRecords) AS log
    FROM (
        SELECT arrayJoin(resourceLogs) AS of_resource
        FROM file('logs.jsonl*', JSONEachRow, 'resourceLogs {resource_logs}')
    )
);
"""


def clickhouse_view() -> str:
    """A view of the table otel_logs that the Collector's exporter fills, whose attributes are all text."""
    return f"""-- One row for each log record of otel-tcplife in the table otel_logs of the Collector's exporter:
--
--   clickhouse client --database otel_tcplife --queries-file sessions.clickhouse.sql
--
-- Made by `python -m tests.sql` from otel_tcplife/conventions.py.

CREATE OR REPLACE VIEW sessions AS
SELECT
    Timestamp AS timestamp,
    EventName AS event,
    SeverityText AS severity,
    Body AS body,
    nullIf(ResourceAttributes['host.name'], '') AS host_name,
{_columns(lambda source, name, kind: _OF_TEXT[kind].format(f"{_CLICKHOUSE_SOURCE[source]}['{name}']"))}
FROM otel_logs
WHERE startsWith(EventName, 'tcplife.');
"""


def _columns(path: Callable[[str, str, Kind], str]) -> str:
    """A column for each attribute of records and of entities, by its name with underscores."""
    found = [("of_log", each) for each in ATTRIBUTES] + [("of_resource", each) for each in ENTITY_ATTRIBUTES]
    lines = (f"    {path(source, each.name, each.kind)} AS {each.name.replace('.', '_')}" for source, each in found)
    return ",\n".join(lines)


def main() -> None:
    """Write all of them."""
    DIRECTORY.mkdir(exist_ok=True)
    for name, text in VIEWS.items():
        (DIRECTORY / name).write_text(text())


def _first(source: str, name: str) -> str:
    return f"arrayFirst(each -> each.key = '{name}', {source}.attributes).value"


_FIELDS: list[tuple[Kind, str]] = [
    ("string", "stringValue"), ("int", "intValue"), ("double", "doubleValue"), ("boolean", "boolValue"),
]  # fmt: skip
_CHDB_SOURCE = {"of_log": "log", "of_resource": "resource"}
_CLICKHOUSE_SOURCE = {"of_log": "LogAttributes", "of_resource": "ResourceAttributes"}
_OF_TEXT: dict[Kind, str] = {
    "string": "nullIf({}, '')",
    "int": "toInt64OrNull({})",
    "double": "toFloat64OrNull({})",
    "boolean": "transform({}, ['true', 'false'], [true, false], NULL)",
}
"""What makes a value of the text of an attribute, which is empty where there is none."""
VIEWS = {
    "sessions.duckdb.sql": duckdb_view,
    "sessions.chdb.sql": chdb_view,
    "sessions.clickhouse.sql": clickhouse_view,
}


if __name__ == "__main__":
    main()
