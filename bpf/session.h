/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only) */
/* What user space reads: the dtype of otel_tcplife/session.py asserts the layout, field by field. */

struct executable {
	char name[EXECUTABLE_SIZE];
};

/* Of a process, as it was when it connected or closed the socket. */
struct owner {
	u64 created_at __attribute__((packed, aligned(4))); /* CLOCK_BOOTTIME ns; aligned so that a flow has no gap */
	u32 pid;
	u32 parent_pid;
	u32 vpid; /* in the PID namespace that is its own; 0 in the host's */
	u32 effective_uid;
	u32 real_uid;
	char comm[COMM_SIZE];
	struct executable executable;
};

/* Both ends of a connection as one of them sees it. Addresses are IPv6, an IPv4 one in its mapped form. */
struct endpoints {
	u8 local_address[16];
	u8 peer_address[16];
	u16 local_port;
	u16 peer_port;
};

/* What user space reads. Times are CLOCK_MONOTONIC ns, round trips us. */
struct session {
	u64 id; /* a random number */
	u64 closed_at;
	u64 observed_at; /* for user space to fill in */
	u64 duration;
	u64 handshake;
	u64 bytes_sent;
	u64 bytes_received;
	u64 cgroup; /* id of the socket's cgroup (v2), 0 where the kernel has none */
	u64 counted_bytes_sent; /* what scans have counted of these, and of retransmits, until now */
	u64 counted_bytes_received;
	u32 counted_retransmits;
	u32 netns; /* inode of the socket's network namespace */
	u32 uid; /* of the socket */
	u32 rtt_smoothed;
	u32 rtt_min;
	u32 retransmits;
	u32 out_of_order;
	struct endpoints ends;
	u16 error;
	u16 timeouts; /* of retransmission; 0 where the kernel does not count them */
	u8 ip_version;
	u8 event;
	u8 role;
	u8 owner_source;
	u8 close_reason;
	u8 adopted; /* it was open before tracing began */
	u8 handshake_retransmits; /* those of retransmits that came before ESTABLISHED */
	u8 reported; /* there were interim reports */
	u8 doubtful; /* of a scan: it ended meanwhile, and may say that it was counted, or not */
	u8 trace_flags; /* of the span */
	u8 reserved[6];
	struct owner owner;
};

/* The span in which the application connected: what OpenTelemetry's SpanContext is, but for the flags; zero if not known. */
struct span {
	u8 trace_id[16];
	u8 span_id[8];
};

/* A session with that, which is put together in the ring, as the stack has no room for it. */
struct session_in_span {
	struct session session;
	struct span span;
};
