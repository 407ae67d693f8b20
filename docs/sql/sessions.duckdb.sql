-- One row for each log record in logs.jsonl and the older files beside it, of the working directory:
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
                columns = {resourceLogs: 'STRUCT("resource" STRUCT("attributes" STRUCT("key" VARCHAR, "value" STRUCT("stringValue" VARCHAR, "intValue" BIGINT, "doubleValue" DOUBLE, "boolValue" BOOLEAN))[]), "scopeLogs" STRUCT("logRecords" STRUCT("timeUnixNano" BIGINT, "severityText" VARCHAR, "eventName" VARCHAR, "body" STRUCT("stringValue" VARCHAR), "attributes" STRUCT("key" VARCHAR, "value" STRUCT("stringValue" VARCHAR, "intValue" BIGINT, "doubleValue" DOUBLE, "boolValue" BOOLEAN))[])[])[])[]'})
        )
    )
), keyed AS (
    SELECT log, map_from_entries(list_transform(log.attributes, lambda each: struct_pack(k := each.key, v := each.value))) AS of_log, map_from_entries(list_transform(resource.attributes, lambda each: struct_pack(k := each.key, v := each.value))) AS of_resource
    FROM record
)
SELECT
    make_timestamp_ns(log.timeUnixNano) AS "timestamp",
    log.eventName AS event,
    log.severityText AS severity,
    log.body.stringValue AS body,
    of_resource['host.name'].stringValue AS host_name,
    of_log['network.transport'].stringValue AS network_transport,
    of_log['network.type'].stringValue AS network_type,
    of_log['network.local.address'].stringValue AS network_local_address,
    of_log['network.local.port'].intValue AS network_local_port,
    of_log['network.peer.address'].stringValue AS network_peer_address,
    of_log['network.peer.port'].intValue AS network_peer_port,
    of_log['tcplife.peer.network'].stringValue AS tcplife_peer_network,
    of_log['tcplife.role'].stringValue AS tcplife_role,
    of_log['process.pid'].intValue AS process_pid,
    of_log['tcplife.comm'].stringValue AS tcplife_comm,
    of_log['process.executable.name'].stringValue AS process_executable_name,
    of_log['process.creation.time'].stringValue AS process_creation_time,
    of_log['process.parent_pid'].intValue AS process_parent_pid,
    of_log['process.vpid'].intValue AS process_vpid,
    of_log['process.user.id'].intValue AS process_user_id,
    of_log['process.real_user.id'].intValue AS process_real_user_id,
    of_log['tcplife.socket.user.id'].intValue AS tcplife_socket_user_id,
    of_log['tcplife.owner.source'].stringValue AS tcplife_owner_source,
    of_log['process.linux.cgroup'].stringValue AS process_linux_cgroup,
    of_log['tcplife.session.id'].stringValue AS tcplife_session_id,
    of_log['tcplife.netns'].intValue AS tcplife_netns,
    of_log['tcplife.start_observed'].boolValue AS tcplife_start_observed,
    of_log['tcplife.session.duration'].doubleValue AS tcplife_session_duration,
    of_log['tcplife.handshake.duration'].doubleValue AS tcplife_handshake_duration,
    of_log['tcplife.bytes.sent'].intValue AS tcplife_bytes_sent,
    of_log['tcplife.bytes.received'].intValue AS tcplife_bytes_received,
    of_log['tcplife.retransmits'].intValue AS tcplife_retransmits,
    of_log['tcplife.handshake.retransmits'].intValue AS tcplife_handshake_retransmits,
    of_log['tcplife.retransmission_timeouts'].intValue AS tcplife_retransmission_timeouts,
    of_log['tcplife.segments.out_of_order'].intValue AS tcplife_segments_out_of_order,
    of_log['tcplife.rtt.smoothed'].doubleValue AS tcplife_rtt_smoothed,
    of_log['tcplife.rtt.min'].doubleValue AS tcplife_rtt_min,
    of_log['tcplife.close.reason'].stringValue AS tcplife_close_reason,
    of_log['error.type'].stringValue AS error_type,
    of_log['tcplife.sampling.ratio'].doubleValue AS tcplife_sampling_ratio,
    of_log['otel.event.name'].stringValue AS otel_event_name,
    of_log['network.community_id'].stringValue AS network_community_id,
    of_resource['container.id'].stringValue AS container_id,
    of_resource['k8s.pod.uid'].stringValue AS k8s_pod_uid
FROM keyed;
