"""Sessions that have a number each, so that what a receiver has of them can be counted one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

HEADER = "PID,COMM,IP,LADDR,LPORT,RADDR,RPORT,TX_KB,RX_KB,MS\n"
"""The first line of a recording."""

_FIRST_ADDRESS = int(IPv4Address("10.0.0.0"))
_PORTS = 60_000
"""Of each address."""


def rows(numbers: Iterable[int]) -> str:
    """The lines of a recording of these sessions, which differ in more than their numbers, as those of a host do."""
    return "".join(map(_row, numbers))


def _row(number: int) -> str:
    address, port = IPv4Address(_FIRST_ADDRESS + number // _PORTS), number % _PORTS + 1
    various = number * 2654435761 % (1 << 32)
    sizes = f"{various % 997},{various % 1999},{various % 100_003}.{various % 90 + 10}"
    return f"{various % 30_011},curl,4,{address},{port},198.51.100.{various % 251},443,{sizes}\n"


def numbers_in(body: bytes) -> list[int]:
    """The numbers of the sessions in a request of logs, in its order."""
    message = ExportLogsServiceRequest.FromString(body)
    return [
        number
        for resource_logs in message.resource_logs
        for scope_logs in resource_logs.scope_logs
        for record in scope_logs.log_records
        for number in _number({each.key: each.value for each in record.attributes})
    ]


def _number(attributes: dict[str, object]) -> Iterator[int]:
    address = getattr(attributes["network.local.address"], "string_value")  # noqa: B009
    port = getattr(attributes["network.local.port"], "int_value")  # noqa: B009
    yield (int(IPv4Address(address)) - _FIRST_ADDRESS) * _PORTS + port - 1
