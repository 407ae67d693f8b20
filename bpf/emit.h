/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only) */
/* How a session leaves the program: into the ring, at once or when its owner is known. */

/* Read by user space; a record that an interrupt holds up stays busy for as long. */
BPF_RINGBUF_OUTPUT(ring, RING_BYTES / PAGE_SIZE);
/*
 * Sessions that a packet ended before their owner was seen, by the address of the socket: they wait for the task that
 * closes its descriptor. Whoever deletes one reports it: that task, or user space when it has waited long enough.
 */
BPF_HASH(awaiting_owner, u64, struct session, MAX_AWAITING_OWNER);

static inline bool selected(const struct session *session)
{
	return SELECT_IP_VERSION(session->ip_version) && SELECT_LOCAL_PORT(session->ends.local_port) &&
	       SELECT_REMOTE_PORT(session->ends.peer_port) && SELECT_LOOPBACK(is_loopback(session->ends.peer_address));
}

/* Whether to wake who reads the ring, who looks only now and then: each CPU does so before it has filled much of it. */
static inline u64 wakeup(void)
{
	u32 cpu = bpf_get_smp_processor_id();
	struct counters *counter = counters.lookup(&cpu);

	if (counter && !(counter->values[COUNTER_SUBMITTED] & (WAKEUP_EVERY - 1)))
		return BPF_RB_FORCE_WAKEUP;
	return BPF_RB_NO_WAKEUP;
}

/* Put a row into the ring. Not 0 where there is no room. */
static inline int output(struct session *session, u64 flags)
{
#if TRACE_CONTEXT
	struct session_in_span *row = ring.ringbuf_reserve(sizeof(*row));

	if (!row)
		return -1;
	COPY(&row->session, session);
	read_span(row);
	ring.ringbuf_submit(row, flags);
	return 0;
#else
	return ring.ringbuf_output(session, sizeof(*session), flags);
#endif
}

/* Every record leaves through here, so that it is counted exactly once. */
static inline void submit(struct session *session, bool is_traced)
{
	if (!is_traced || !SELECT_PID(session->owner.pid))
		count(COUNTER_FILTERED);
	else if (output(session, wakeup()))
		count(COUNTER_RING_FULL);
	else
		count(COUNTER_SUBMITTED);
}

/* Nobody will be known as its owner; where it is not traced, whose it was will not be known either. */
static inline void submit_ownerless(struct session *session, bool is_traced)
{
	if (is_traced)
		submit(session, true);
	else
		count(COUNTER_UNCLAIMED);
}

/* Whether it is the socket of this session, not another one at its address; one that was disconnected has no peer. */
static inline bool has_peer_of(u64 sk, const struct session *session)
{
	u16 port = htons(READ(sk, SOCK_COMMON_skc_dport));

	return !port || port == session->ends.peer_port;
}

static inline struct session *waiting_session(u64 sk)
{
	return awaiting_owner.lookup(&sk);
}

/* False where another has been faster. */
static inline bool take_waiting_session(u64 sk)
{
	return !awaiting_owner.delete(&sk);
}

/* The running task has the descriptor of a socket whose session has ended: it is the owner. */
static inline void claim(u64 sk)
{
	struct session *waiting = waiting_session(sk);
	struct session session;

	if (!waiting)
		return;
	if (SCOPE_PROCESS && in_kernel_thread())
		return; /* whether its process is traced will not be known: user space counts it */
	COPY(&session, waiting);
	if (!take_waiting_session(sk))
		return; /* user space took it, having waited long enough */
	if (!has_peer_of(sk, &session)) {
		submit_ownerless(&session, !SCOPE_PROCESS);
		return;
	}
	if (read_owner(sk, &session.owner))
		session.owner_source = OWNER_SOURCE_CLOSE;
	submit(&session, is_traced_owner(&session.owner));
}

/* Have a session wait for that. False where there is no room. */
static inline bool park_until_owner(u64 sk, struct session *session)
{
	if (!awaiting_owner.insert(&sk, session))
		return true;
	if (!take_waiting_session(sk))
		return false;
	count(COUNTER_NOT_FOLLOWED); /* of another socket at this address, whose end was missed */
	return !awaiting_owner.insert(&sk, session);
}
