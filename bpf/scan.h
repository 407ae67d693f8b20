/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only) */
/* Sockets that were open before tracing began, and those that go on. */

/* include/linux/bpf.h, kernel/bpf/task_iter.c */
struct bpf_iter_meta;
struct bpf_iter__task_file {
	union {
		struct bpf_iter_meta *meta;
		u64 : 64;
	};
	union {
		void *task;
		u64 : 64;
	};
	u32 fd __attribute__((aligned(8)));
	union {
		void *file;
		u64 : 64;
	};
};

static inline bool is_inet(u16 family)
{
	return family == AF_INET || family == AF_INET6;
}

static inline bool is_open(int state)
{
	return state == TCP_ESTABLISHED || state == TCP_CLOSE_WAIT || has_sent_fin(state);
}

/* A session that goes on; it is one of those that end when it does, and counted only then. */
static inline void report(u64 sk, struct flow *flow)
{
	struct session session = {};

	read_flow(sk, flow, fin_acked(sk, flow), &session);
	session.event = EVENT_SESSION_PROGRESS;
	flow->reported_at = session.closed_at;
	if (selected(&session) && SELECT_PID(session.owner.pid) &&
	    !ring.ringbuf_output(&session, sizeof(session), BPF_RB_NO_WAKEUP))
		count(COUNTER_REPORTED);
}

/*
 * A socket that is followed already. Where several processes have an adopted one, its owner is the one that closes it.
 * Another CPU may be ending the session meanwhile, as the scan does not lock the socket. It writes one byte, and leaves
 * the owner as it is: that one reads either that there is no owner yet, or an owner that is whole.
 */
static inline void revisit(u64 sk, u64 task, struct flow *flow)
{
	if (INTERIM && flow->established && !flow->tracer_connection &&
	    bpf_ktime_get_ns() - flow->reported_at >= INTERIM)
		report(sk, flow);
	if (flow->owner_source == OWNER_SOURCE_ADOPTED && flow->owner.pid != tgid_of(task))
		flow->owner_source = 0;
}

/* Follow a socket that is open already. */
static inline void adopt(u64 sk, u64 task)
{
	struct flow flow = { .owner_source = OWNER_SOURCE_ADOPTED, .handshake = UNKNOWN_TIME, .traced = 1 };
	int state = READ(sk, SOCK_COMMON_skc_state);

	/* Another process may listen on one that is only bound */
	if (state == TCP_LISTEN || state == TCP_CLOSE)
		note_listener(sk);
	if (state == TCP_SYN_SENT)
		flow.role = ROLE_CLIENT;
	else if (is_open(state))
		found_open(&flow, state);
	else
		return;
	read_owner_of(task, &flow.owner);
	if (flows.insert(&sk, &flow))
		return;
	overflowed.delete(&sk); /* there was no room for it once, and now there is */
	if (flow.established)
		count(COUNTER_OPENED);
}
