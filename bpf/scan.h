/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only) */
/* Sockets that were open before tracing began, and those that go on. */

/* include/linux/bpf.h, kernel/bpf/task_iter.c */
struct bpf_iter_meta {
	union {
		struct seq_file *seq; /* what user space reads */
		u64 : 64;
	};
	u64 session_id; /* of the scan */
	u64 seq_num;
};
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

/* An interim report of a session that goes on; it is one of those that end when it does, and counted only then. */
static inline void report(struct flow *flow, struct session *session)
{
	flow->reported_at = session->closed_at;
	flow->reported = session->reported = 1;
	if (selected(session) && SELECT_PID(session->owner.pid) && !output(session, BPF_RB_NO_WAKEUP))
		count(COUNTER_REPORTED);
}

static inline bool has_room(struct seq_file *seq)
{
	return READ((u64)seq, SEQ_FILE_size) - READ((u64)seq, SEQ_FILE_count) > sizeof(struct session);
}

/*
 * Count what the session has more than at the scan before, and say so. Another CPU may be ending it meanwhile: it sets
 * `ended` first, and then reads what was counted; here it is the other way round, with a full memory barrier between the
 * two at both places (on x86; on arm64 an addition is none, and the moment in which that matters is a few ns). So if it
 * has not ended by then, it will know what was counted here. If it has, nobody knows whether it does, and user space
 * counts neither this nor what it says of it (see otel_tcplife/probe/scan.py).
 */
static inline void count_growth(struct flow *flow, struct session *session)
{
	__sync_fetch_and_add(&flow->counted_bytes_sent, session->bytes_sent - session->counted_bytes_sent);
	__sync_fetch_and_add(&flow->counted_bytes_received, session->bytes_received - session->counted_bytes_received);
	__sync_fetch_and_add(&flow->counted_retransmits, session->retransmits - session->counted_retransmits);
	session->doubtful = flow->ended;
}

/* Write a row for user space. An accepted socket is that of a process that has it open, as far as is known. */
static inline void write_open(u64 task, struct flow *flow, struct session *session, struct bpf_iter_meta *meta)
{
	if (!session->owner_source)
		read_owner_of(task, &session->owner);
	if (!selected(session) || !SELECT_PID(session->owner.pid))
		return;
	if (has_room(meta->seq)) { /* else the kernel runs this again, as nothing may be written twice */
		flow->scanned_by = meta->session_id;
		count_growth(flow, session);
	}
	bpf_seq_write(meta->seq, session, sizeof(*session));
}

/*
 * A socket that is followed already. Where several processes have an adopted one, its owner is the one that closes it.
 * Another CPU may be ending the session meanwhile, as the scan does not lock the socket. It leaves the owner as it is, and
 * writes one byte of it: that one reads either that there is no owner yet, or an owner that is whole.
 */
static inline void revisit(u64 sk, u64 task, struct flow *flow, struct bpf_iter_meta *meta)
{
	struct session session = {};

	if (flow->owner_source == OWNER_SOURCE_ADOPTED && flow->owner.pid != tgid_of(task))
		flow->owner_source = 0;
	if (!flow->established || flow->hidden || flow->ended)
		return;
	if (flow->scanned_by == (u32)meta->session_id || is_first_scan(meta->session_id))
		return;
	read_flow(sk, flow, fin_acked(sk, flow), &session);
	session.event = EVENT_SESSION_PROGRESS;
	if (INTERIM && session.closed_at - flow->reported_at >= INTERIM)
		report(flow, &session);
	write_open(task, flow, &session, meta);
}

/* Follow a socket that is open already. */
static inline void adopt(u64 sk, u64 task)
{
	struct flow flow = {
		.id = random_id(), .owner_source = OWNER_SOURCE_ADOPTED, .handshake = UNKNOWN_TIME, .traced = 1
	};
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
	if (flow.established)
		count_from_now(sk, &flow);
	read_owner_of(task, &flow.owner);
	if (flows.insert(&sk, &flow))
		return;
	forget_overflowed(sk); /* there was no room for it once, and now there is */
	if (flow.established)
		count(COUNTER_OPENED);
}
