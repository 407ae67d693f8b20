/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only) */
/* What user space reads: the dtype of otel_tcplife/session.py asserts the layout, field by field. */

struct executable {
	char name[EXECUTABLE_SIZE];
};

struct owner {
	u32 pid;
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
	u64 closed_at;
	u64 observed_at; /* for user space to fill in */
	u64 duration;
	u64 handshake;
	u64 bytes_sent;
	u64 bytes_received;
	u64 cgroup; /* id of the socket's cgroup (v2), 0 where the kernel has none */
	u32 netns; /* inode of the socket's network namespace */
	u32 uid;
	u32 rtt_smoothed;
	u32 rtt_min;
	u32 retransmits;
	struct endpoints ends;
	u16 error;
	u8 ip_version;
	u8 event;
	u8 role;
	u8 owner_source;
	u8 close_reason;
	u8 adopted; /* it was open before tracing began */
	u8 reserved[4];
	struct owner owner;
};
