-- One row for each log record of otel-tcplife in the table otel_logs of the Collector's exporter:
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
    nullIf(LogAttributes['network.transport'], '') AS network_transport,
    nullIf(LogAttributes['network.type'], '') AS network_type,
    nullIf(LogAttributes['network.local.address'], '') AS network_local_address,
    toInt64OrNull(LogAttributes['network.local.port']) AS network_local_port,
    nullIf(LogAttributes['network.peer.address'], '') AS network_peer_address,
    toInt64OrNull(LogAttributes['network.peer.port']) AS network_peer_port,
    nullIf(LogAttributes['tcplife.peer.network'], '') AS tcplife_peer_network,
    nullIf(LogAttributes['tcplife.role'], '') AS tcplife_role,
    toInt64OrNull(LogAttributes['process.pid']) AS process_pid,
    nullIf(LogAttributes['tcplife.comm'], '') AS tcplife_comm,
    nullIf(LogAttributes['process.executable.name'], '') AS process_executable_name,
    nullIf(LogAttributes['process.creation.time'], '') AS process_creation_time,
    toInt64OrNull(LogAttributes['process.parent_pid']) AS process_parent_pid,
    toInt64OrNull(LogAttributes['process.vpid']) AS process_vpid,
    toInt64OrNull(LogAttributes['process.user.id']) AS process_user_id,
    toInt64OrNull(LogAttributes['process.real_user.id']) AS process_real_user_id,
    toInt64OrNull(LogAttributes['tcplife.socket.user.id']) AS tcplife_socket_user_id,
    nullIf(LogAttributes['tcplife.owner.source'], '') AS tcplife_owner_source,
    nullIf(LogAttributes['process.linux.cgroup'], '') AS process_linux_cgroup,
    nullIf(LogAttributes['tcplife.session.id'], '') AS tcplife_session_id,
    toInt64OrNull(LogAttributes['tcplife.netns']) AS tcplife_netns,
    transform(LogAttributes['tcplife.start_observed'], ['true', 'false'], [true, false], NULL) AS tcplife_start_observed,
    toFloat64OrNull(LogAttributes['tcplife.session.duration']) AS tcplife_session_duration,
    toFloat64OrNull(LogAttributes['tcplife.handshake.duration']) AS tcplife_handshake_duration,
    toInt64OrNull(LogAttributes['tcplife.bytes.sent']) AS tcplife_bytes_sent,
    toInt64OrNull(LogAttributes['tcplife.bytes.received']) AS tcplife_bytes_received,
    toInt64OrNull(LogAttributes['tcplife.retransmits']) AS tcplife_retransmits,
    toInt64OrNull(LogAttributes['tcplife.handshake.retransmits']) AS tcplife_handshake_retransmits,
    toInt64OrNull(LogAttributes['tcplife.retransmission_timeouts']) AS tcplife_retransmission_timeouts,
    toInt64OrNull(LogAttributes['tcplife.segments.out_of_order']) AS tcplife_segments_out_of_order,
    toFloat64OrNull(LogAttributes['tcplife.rtt.smoothed']) AS tcplife_rtt_smoothed,
    toFloat64OrNull(LogAttributes['tcplife.rtt.min']) AS tcplife_rtt_min,
    nullIf(LogAttributes['tcplife.close.reason'], '') AS tcplife_close_reason,
    nullIf(LogAttributes['error.type'], '') AS error_type,
    toFloat64OrNull(LogAttributes['tcplife.sampling.ratio']) AS tcplife_sampling_ratio,
    nullIf(LogAttributes['otel.event.name'], '') AS otel_event_name,
    nullIf(LogAttributes['network.community_id'], '') AS network_community_id,
    nullIf(ResourceAttributes['container.id'], '') AS container_id,
    nullIf(ResourceAttributes['k8s.pod.uid'], '') AS k8s_pod_uid
FROM otel_logs
WHERE startsWith(EventName, 'tcplife.');
