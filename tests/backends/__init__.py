"""The stores that take OTLP from otel-tcplife directly, the dashboard and the alerts, each with real sessions."""
