-- One row for each log record in logs.jsonl and the older files beside it, of the working directory:
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
    arrayFirst(each -> each.key = 'host.name', resource.attributes).value.stringValue AS host_name,
    arrayFirst(each -> each.key = 'network.transport', log.attributes).value.stringValue AS network_transport,
    arrayFirst(each -> each.key = 'network.type', log.attributes).value.stringValue AS network_type,
    arrayFirst(each -> each.key = 'network.local.address', log.attributes).value.stringValue AS network_local_address,
    arrayFirst(each -> each.key = 'network.local.port', log.attributes).value.intValue AS network_local_port,
    arrayFirst(each -> each.key = 'network.peer.address', log.attributes).value.stringValue AS network_peer_address,
    arrayFirst(each -> each.key = 'network.peer.port', log.attributes).value.intValue AS network_peer_port,
    arrayFirst(each -> each.key = 'tcplife.peer.network', log.attributes).value.stringValue AS tcplife_peer_network,
    arrayFirst(each -> each.key = 'tcplife.role', log.attributes).value.stringValue AS tcplife_role,
    arrayFirst(each -> each.key = 'process.pid', log.attributes).value.intValue AS process_pid,
    arrayFirst(each -> each.key = 'tcplife.comm', log.attributes).value.stringValue AS tcplife_comm,
    arrayFirst(each -> each.key = 'process.executable.name', log.attributes).value.stringValue AS process_executable_name,
    arrayFirst(each -> each.key = 'process.creation.time', log.attributes).value.stringValue AS process_creation_time,
    arrayFirst(each -> each.key = 'process.parent_pid', log.attributes).value.intValue AS process_parent_pid,
    arrayFirst(each -> each.key = 'process.vpid', log.attributes).value.intValue AS process_vpid,
    arrayFirst(each -> each.key = 'process.user.id', log.attributes).value.intValue AS process_user_id,
    arrayFirst(each -> each.key = 'process.real_user.id', log.attributes).value.intValue AS process_real_user_id,
    arrayFirst(each -> each.key = 'tcplife.socket.user.id', log.attributes).value.intValue AS tcplife_socket_user_id,
    arrayFirst(each -> each.key = 'tcplife.owner.source', log.attributes).value.stringValue AS tcplife_owner_source,
    arrayFirst(each -> each.key = 'process.linux.cgroup', log.attributes).value.stringValue AS process_linux_cgroup,
    arrayFirst(each -> each.key = 'tcplife.session.id', log.attributes).value.stringValue AS tcplife_session_id,
    arrayFirst(each -> each.key = 'tcplife.netns', log.attributes).value.intValue AS tcplife_netns,
    arrayFirst(each -> each.key = 'tcplife.start_observed', log.attributes).value.boolValue AS tcplife_start_observed,
    arrayFirst(each -> each.key = 'tcplife.session.duration', log.attributes).value.doubleValue AS tcplife_session_duration,
    arrayFirst(each -> each.key = 'tcplife.handshake.duration', log.attributes).value.doubleValue AS tcplife_handshake_duration,
    arrayFirst(each -> each.key = 'tcplife.bytes.sent', log.attributes).value.intValue AS tcplife_bytes_sent,
    arrayFirst(each -> each.key = 'tcplife.bytes.received', log.attributes).value.intValue AS tcplife_bytes_received,
    arrayFirst(each -> each.key = 'tcplife.retransmits', log.attributes).value.intValue AS tcplife_retransmits,
    arrayFirst(each -> each.key = 'tcplife.handshake.retransmits', log.attributes).value.intValue AS tcplife_handshake_retransmits,
    arrayFirst(each -> each.key = 'tcplife.retransmission_timeouts', log.attributes).value.intValue AS tcplife_retransmission_timeouts,
    arrayFirst(each -> each.key = 'tcplife.segments.out_of_order', log.attributes).value.intValue AS tcplife_segments_out_of_order,
    arrayFirst(each -> each.key = 'tcplife.rtt.smoothed', log.attributes).value.doubleValue AS tcplife_rtt_smoothed,
    arrayFirst(each -> each.key = 'tcplife.rtt.min', log.attributes).value.doubleValue AS tcplife_rtt_min,
    arrayFirst(each -> each.key = 'tcplife.close.reason', log.attributes).value.stringValue AS tcplife_close_reason,
    arrayFirst(each -> each.key = 'error.type', log.attributes).value.stringValue AS error_type,
    arrayFirst(each -> each.key = 'tcplife.sampling.ratio', log.attributes).value.doubleValue AS tcplife_sampling_ratio,
    arrayFirst(each -> each.key = 'otel.event.name', log.attributes).value.stringValue AS otel_event_name,
    arrayFirst(each -> each.key = 'network.community_id', log.attributes).value.stringValue AS network_community_id,
    arrayFirst(each -> each.key = 'container.id', resource.attributes).value.stringValue AS container_id,
    arrayFirst(each -> each.key = 'k8s.pod.uid', resource.attributes).value.stringValue AS k8s_pod_uid
FROM (
    SELECT of_resource.resource AS resource, arrayJoin(arrayJoin(of_resource.scopeLogs).logRecords) AS log
    FROM (
        SELECT arrayJoin(resourceLogs) AS of_resource
        FROM file('logs.jsonl*', JSONEachRow, 'resourceLogs Array(Tuple(resource Tuple(attributes Array(Tuple(key String, value Tuple(stringValue Nullable(String), intValue Nullable(Int64), doubleValue Nullable(Float64), boolValue Nullable(Bool))))), scopeLogs Array(Tuple(logRecords Array(Tuple(timeUnixNano Int64, severityText String, eventName String, body Tuple(stringValue String), attributes Array(Tuple(key String, value Tuple(stringValue Nullable(String), intValue Nullable(Int64), doubleValue Nullable(Float64), boolValue Nullable(Bool))))))))))')
    )
);
