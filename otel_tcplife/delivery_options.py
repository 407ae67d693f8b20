"""The options of how the command delivers telemetry: rows of the table in options.py."""

from __future__ import annotations

from otel_tcplife.option import Option, in_any_scope
from otel_tcplife.parsers import parse_number, parse_path

ALIVE_FILE = Option(
    "alive_file",
    parse_path,
    in_any_scope(None),
    "of the command: a file that is there while it traces, and is touched every 5 seconds, for a probe to look at",
    default_text="none",
    is_keyword=False,
)
REQUEST_BYTES = Option(
    "request_bytes",
    lambda text: parse_number(text, "a size", 1024, 1 << 30),
    in_any_scope(1_000_000),
    "of the command: bytes of an OTLP request at most, before compression; less where the receiver takes less",
    is_keyword=False,
)
MAX_QUEUE_SIZE = Option(
    "max_queue_size",
    lambda text: parse_number(text, "a number of sessions", 1, 1 << 24),
    in_any_scope(65536),
    "of the command: sessions that may wait in memory for each way out, of about 270 bytes each; more are dropped",
    is_keyword=False,
)
SPOOL = Option(
    "spool",
    parse_path,
    in_any_scope(None),
    "of the command: directory in which telemetry waits for a receiver, or a disk, that is away, also over restarts",
    default_text="none",
    is_keyword=False,
)
SPOOL_BYTES = Option(
    "spool_bytes",
    lambda text: parse_number(text, "a size", 1 << 20, 1 << 50),
    in_any_scope(1 << 30),
    "of the command: bytes that wait in the spool at most, at about 85 bytes for each session",
    is_keyword=False,
)
FILE_BYTES = Option(
    "file_bytes",
    lambda text: parse_number(text, "a size", 1, 1 << 40),
    in_any_scope(100 << 20),
    "of the command: size at which a file of `--otlp-file` becomes `logs.jsonl.1` or `metrics.jsonl.1`, and a new one "
    "is begun",
    is_keyword=False,
)
FILE_KEEP = Option(
    "file_keep",
    lambda text: parse_number(text, "a number of files", 0, 1000),
    in_any_scope(5),
    "of the command: how many such older files of each kind are kept, of which number 1 is the newest",
    is_keyword=False,
)
