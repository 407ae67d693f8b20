"""All that is used of the packages opentelemetry._logs and opentelemetry.sdk._logs, public though underscored: the logs
API of Python is not yet stable. No other file imports these.
"""

from opentelemetry._logs import LoggerProvider, LogRecord, SeverityNumber, get_logger_provider
from opentelemetry.sdk._logs import LoggerProvider as SdkLoggerProvider
from opentelemetry.sdk._logs import LogRecordProcessor, ReadWriteLogRecord
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter

__all__ = [
    "BatchLogRecordProcessor",
    "LogRecord",
    "LogRecordExporter",
    "LogRecordProcessor",
    "LoggerProvider",
    "ReadWriteLogRecord",
    "SdkLoggerProvider",
    "SeverityNumber",
    "get_logger_provider",
]
