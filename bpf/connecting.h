/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only) */
/* What an application says of a connection while it makes it: the span that it is in, or that it is an exporter's. */

#if CONNECTS_ANNOUNCED
struct thread {
	u32 pid_namespace; /* inode of its own */
	u32 tid; /* in that namespace */
};

struct connecting {
	struct span span;
	u8 trace_flags;
	u8 hidden; /* not to be reported */
	u8 reserved[6];
};

/*
 * By the thread that connects. Written by the application just before connect(2), and deleted by the first connection that the
 * thread makes, or by the application where there was none: what is said of one is never taken for another.
 */
BPF_TABLE("lru_hash", struct thread, struct connecting, connecting, 4096);

/* Address and port of a server. */
struct receiver {
	u8 address[16];
	u16 port; /* network byte order */
	u16 reserved;
};

/* Where exporters connect to that announce nothing. Written by the application. */
BPF_HASH(receivers, struct receiver, u8, 64);

static inline bool is_receiver(u64 sk)
{
	struct receiver peer = { .port = READ(sk, SOCK_COMMON_skc_dport) };

	read_peer_address(sk, peer.address);
	return found(receivers.lookup(&peer));
}

static inline struct thread running_thread(void)
{
	u64 task = current_task(), pid = READ(task, TASK_STRUCT_thread_pid);
	u64 number = pid + PID_numbers + READ(pid, PID_level) * UPID_SIZE;
	struct thread thread = { .tid = READ_AT(number, UPID_nr) };

	thread.pid_namespace = READ_AT(READ_AT(number, UPID_ns) + PID_NAMESPACE_ns, NS_COMMON_inum);
	return thread;
}

#if TRACE_CONTEXT
/* What was said of connections that are open, by the id of the flow; written by the hooks of its socket. */
BPF_TABLE("lru_hash", u64, struct connecting, spans, MAX_SESSIONS);

static inline void keep_span(const struct flow *flow, struct connecting *said)
{
	u64 id = flow->id;

	spans.update(&id, said);
}

static inline void read_span(struct session_in_span *row)
{
	u64 id = row->session.id;
	struct connecting *said = spans.lookup(&id);

	__builtin_memset(&row->span, 0, sizeof(row->span));
	if (!said)
		return;
	row->session.trace_flags = said->trace_flags;
	COPY(&row->span, &said->span);
}

static inline void forget_span(const struct flow *flow)
{
	u64 id = flow->id;

	spans.delete(&id);
}
#else
#define keep_span(flow, said) do { } while (0)
#endif

static inline void take_what_was_said(u64 sk, struct flow *flow)
{
	struct thread thread = running_thread();
	struct connecting *said = connecting.lookup(&thread);

	flow->hidden |= is_receiver(sk);
	if (!said)
		return;
	flow->hidden |= said->hidden;
	keep_span(flow, said);
	connecting.delete(&thread);
}
#else
#define take_what_was_said(sk, flow) do { } while (0)
#endif

#if !TRACE_CONTEXT
#define forget_span(flow) do { } while (0)
#endif
