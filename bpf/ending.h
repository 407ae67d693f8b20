/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only) */
/* How a session ends. */

static inline bool has_sent_fin(int state)
{
	return state == TCP_FIN_WAIT1 || state == TCP_FIN_WAIT2 || state == TCP_CLOSING || state == TCP_LAST_ACK;
}

/* Within close(2), or after shutdown(2) of both directions. */
static inline bool is_closing(u64 sk)
{
	return READ(sk, SOCK_sk_shutdown) == SHUTDOWN_MASK;
}

/* A session that was open before it was followed, in this state. */
static inline void found_open(struct flow *flow, int state)
{
	flow->adopted = flow->established = 1;
	flow->reported_at = bpf_ktime_get_ns();
	flow->handshake = UNKNOWN_TIME;
	flow->sent_fin = has_sent_fin(state);
	if (state == TCP_CLOSE_WAIT || state == TCP_LAST_ACK)
		flow->first_fin = CLOSE_REASON_PEER_CLOSE;
	else if (flow->sent_fin)
		flow->first_fin = CLOSE_REASON_LOCAL_CLOSE;
}

#if SCOPE_PROCESS
/* Of an accepted socket that another process handed to a traced one, nothing is known until that closes it. */
static inline struct flow *follow_handed_over(u64 sk, int old_state, int state)
{
	bool closing = state != TCP_CLOSE || is_closing(sk);
	struct flow flow = { .id = random_id() };
	u32 only = 0;
	s64 *beyond;

	if (state == TCP_CLOSE_WAIT || (old_state != TCP_ESTABLISHED && old_state != TCP_CLOSE_WAIT))
		return NULL;
	if (!closing || !is_traced_task() || found(overflowed.lookup(&sk)))
		return NULL;
	beyond = beyond_overflowed.lookup(&only);
	if (beyond && *beyond)
		return NULL; /* it may be one of those, which are counted */
	found_open(&flow, old_state);
	if (flows.insert(&sk, &flow))
		return NULL;
	count(COUNTER_OPENED);
	return flow_of(sk);
}
#else
#define follow_handed_over(sk, old_state, state) NULL
#endif

static inline struct flow *flow_that_ends(u64 sk, int old_state, int state)
{
	struct flow *flow = flow_of(sk);

	return flow ? flow : follow_handed_over(sk, old_state, state);
}

/* The running task closes it, or has it closed. */
static inline void owned_by_closer(u64 sk, struct flow *flow)
{
	if (flow->of_kernel || !read_owner(sk, &flow->owner))
		return;
	flow->owner_source = OWNER_SOURCE_CLOSE;
	flow->traced = is_traced_owner(&flow->owner);
}

/* FIN_WAIT1 and LAST_ACK are entered by close(2) or shutdown(2), so the running task has the descriptor. */
static inline void fin_sent(u64 sk, int old_state, int state)
{
	struct flow *flow = flow_that_ends(sk, old_state, state);

	if (!flow)
		return;
	flow->sent_fin = 1;
	flow->data_segments = READ(sk, TCP_SOCK_data_segs_in);
	if (!flow->first_fin)
		flow->first_fin = state == TCP_FIN_WAIT1 ? CLOSE_REASON_LOCAL_CLOSE : CLOSE_REASON_PEER_CLOSE;
	if (!flow->owner_source)
		owned_by_closer(sk, flow);
}

static inline void fin_received(u64 sk)
{
	struct flow *flow = flow_of(sk);

	if (flow && !flow->first_fin)
		flow->first_fin = CLOSE_REASON_PEER_CLOSE;
}

/*
 * A state change is missed where it comes within this program, in an interrupt: the kernel runs a program once at a time
 * on each CPU. What is known only from it is then unknown, and nothing else is.
 */
static inline void infer_missed_states(u64 sk, struct flow *flow, int state)
{
	bool opened = state != TCP_SYN_SENT && state != TCP_SYN_RECV;

	/* With fast open, the server's program has what came in the SYN before the handshake ends. */
	if (!flow->established && (opened || (flow->role == ROLE_SERVER && READ(sk, TCP_SOCK_bytes_received)))) {
		flow->established = 1;
		flow->handshake = UNKNOWN_TIME;
		look_for_repair(sk, flow);
		count(COUNTER_OPENED);
		if (opened)
			count(COUNTER_MISSED);
	}
	if (!flow->sent_fin && has_sent_fin(state)) {
		flow->sent_fin = 1;
		count(COUNTER_MISSED);
	}
}

/*
 * Whether the task that closes its last descriptor is still to come, and is the owner. A socket without one ends by what
 * packets do, whatever task they interrupt.
 */
static inline bool owner_comes(u64 sk, const struct flow *flow)
{
	return !flow->of_kernel && !(READ(sk, SOCK_COMMON_skc_flags) & (1ULL << SOCK_DEAD));
}

static inline void end_seen(u64 sk, const struct flow *flow)
{
	struct session session = {};
	bool our_fin_acked = fin_acked(sk, flow);

	read_flow(sk, flow, our_fin_acked, &session);
	session.event = flow->established ? EVENT_SESSION_CLOSED : EVENT_CONNECT_FAILED;
	if (flow->established)
		session.close_reason = close_reason(sk, flow, our_fin_acked, session.error);
	if (!selected(&session))
		count(COUNTER_FILTERED);
	else if (session.owner_source)
		submit(&session, flow->traced);
	else if (!owner_comes(sk, flow) || !park_until_owner(sk, &session))
		submit_ownerless(&session, flow->traced);
}

static inline void close_flow(u64 sk, struct flow *flow, int state)
{
	if (flow->hidden) {
		forget_hidden_connection(sk);
		return;
	}
	infer_missed_states(sk, flow, state);
	if (flow->established)
		count(COUNTER_CLOSED);
	else if (flow->role == ROLE_SERVER)
		return; /* a handshake that the server gave up is no session */
	flow->ended = 1; /* before what was counted of it is read: counting is a memory barrier, see scan.h */
	count(COUNTER_SEEN); /* and what becomes of it where it leaves, in emit.h */
	/* Within close(2), which sends a reset, or within connect(2) to AF_UNSPEC: what a packet ends has an error */
	if (!flow->owner_source && !flow->sent_fin && (is_closing(sk) || !READ(sk, SOCK_sk_err)))
		owned_by_closer(sk, flow);
	end_seen(sk, flow);
}

static inline void close_unfollowed(u64 sk, int state)
{
	bool no_room;

	if (state == TCP_CLOSE || state == TCP_LISTEN)
		return;
	no_room = found_no_room(sk);
	if (state == TCP_SYN_RECV)
		return;
	if (SCOPE_PROCESS && !no_room)
		return; /* of a process that is not traced */
	count_lost(no_room ? COUNTER_MAP_FULL : COUNTER_NOT_FOLLOWED);
}

static inline void closed(u64 sk, int old_state)
{
	struct flow *flow = flow_that_ends(sk, old_state, TCP_CLOSE);

	if (!flow) {
		close_unfollowed(sk, old_state);
		return;
	}
	if (old_state == TCP_LISTEN) /* of another socket at this address, all of whose end was missed */
		end_unseen(flow);
	else
		close_flow(sk, flow, old_state);
	forget_span(flow);
	forget_flow(sk);
}

/* Its CLOSE was missed, and with it when that was. */
static inline void close_missed(u64 sk, struct flow *flow)
{
	int state = flow->sent_fin ? TCP_FIN_WAIT1 : flow->established ? TCP_ESTABLISHED : TCP_SYN_SENT;

	count(COUNTER_MISSED);
	flow->end_missed = 1;
	flow->started_at = flow->established_at = 0;
	if (READ(sk, SOCK_COMMON_skc_dport))
		close_flow(sk, flow, state);
	else /* and whom it had as a peer is forgotten */
		end_unseen(flow);
	forget_span(flow);
	forget_flow(sk);
}

static inline void destroyed(u64 sk)
{
	struct flow *flow = flow_of(sk);

	if (flow) {
		close_missed(sk, flow);
	} else if (forget_overflowed(sk)) { /* its CLOSE was missed, too */
		count(COUNTER_MISSED);
		count_lost(COUNTER_MAP_FULL);
	}
	claim(sk);
}
