/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only) */
/* How a session begins. */

/* Connections that are hidden, as their other end sees them. Written by the hooks of the end that made them. */
BPF_TABLE("lru_hash", struct endpoints, u8, hidden_connections, 1024);

static inline void syn_sent(u64 sk)
{
	struct flow flow = { .id = random_id(), .role = ROLE_CLIENT, .traced = 1 };

	if (!is_traced_task() && !in_kernel_thread()) {
		end_flow_before(sk);
		return;
	}
	if (read_owner(sk, &flow.owner))
		flow.owner_source = OWNER_SOURCE_CONNECT;
	else
		flow.of_kernel = 1;
	if (!is_traced_owner(&flow.owner)) {
		end_flow_before(sk);
		return;
	}
	flow.started_at = bpf_ktime_get_ns();
	flow.hidden = HIDE_TRACER && is_tracer();
	take_what_was_said(sk, &flow);
	follow(sk, &flow);
}

static inline void syn_received(u64 sk, int old_state)
{
	struct flow flow = { .id = random_id(), .role = ROLE_SERVER, .traced = !SCOPE_PROCESS };

	/* A simultaneous open is still the client that it was */
	if (old_state == TCP_SYN_SENT)
		return;
	if (!has_traced_listener(sk)) {
		end_flow_before(sk);
		return;
	}
	flow.started_at = bpf_ktime_get_ns();
	follow(sk, &flow);
}

static inline void listening(u64 sk)
{
	if (is_traced_task())
		note_listener(sk);
}

/* Linux makes a server's socket when the handshake ends; the RTT of its SYN-ACK is then the only RTT sample. */
static inline u64 server_handshake(u64 sk, const struct flow *flow, u64 since_socket)
{
	u32 rtt = READ(sk, TCP_SOCK_srtt_us) >> 3;
	u64 since_syn_ack = rtt * 1000ULL;

	/* Sent twice or forgotten (SYN cookies), it has no RTT, or that of the timestamp option: whole ms, up to 64 too many */
	if (rtt % 1000 == 0 || flow->handshake_retransmits)
		return UNKNOWN_TIME;
	return since_socket > since_syn_ack ? since_socket : since_syn_ack; /* the former with fast open */
}

/*
 * A client becomes established when its SYN is acknowledged. Where none was, TCP_REPAIR has set the state of a session
 * that began in another socket, at either side: what that one did is not known.
 */
static inline void look_for_repair(u64 sk, struct flow *flow)
{
	if (flow->role != ROLE_CLIENT || READ(sk, TCP_SOCK_bytes_acked))
		return;
	flow->restored = flow->adopted = 1;
	flow->role = 0;
	flow->started_at = flow->established_at = 0;
	flow->handshake = UNKNOWN_TIME;
}

/* Whether it is an end of a connection that is hidden: the end that made it says so, the other one is found by that. */
static inline bool is_hidden(u64 sk, const struct flow *flow)
{
	struct endpoints ends = {};
	u8 yes = 1;

	read_endpoints(sk, &ends);
	if (!flow->hidden)
		return found(hidden_connections.lookup(&ends));
	swap_ends(&ends);
	hidden_connections.update(&ends, &yes);
	return true;
}

static inline void forget_hidden_connection(u64 sk)
{
	struct endpoints ends = {};

	read_endpoints(sk, &ends);
	swap_ends(&ends);
	hidden_connections.delete(&ends);
}

/* What was sent again so far: SYNs or SYN-ACKs. The kernel gives up long before there are so many that a byte has no room. */
static inline u8 handshake_retransmits(u64 sk)
{
	u32 retransmits = READ(sk, TCP_SOCK_total_retrans);

	return retransmits < 255 ? retransmits : 255;
}

static inline void established(u64 sk)
{
	struct flow *flow = flow_of(sk);

	if (!flow)
		return;
	if (flow->established) {
		/* A socket enters this state once: it is another one, whose beginning was missed */
		end_flow_before(sk);
		return;
	}
	flow->established = 1;
	flow->established_at = flow->reported_at = bpf_ktime_get_ns();
	flow->handshake_retransmits = handshake_retransmits(sk);
	flow->handshake = flow->started_at ? flow->established_at - flow->started_at : UNKNOWN_TIME;
	if (flow->role == ROLE_SERVER)
		flow->handshake = server_handshake(sk, flow, flow->handshake);
	look_for_repair(sk, flow);
	if (flow->role == ROLE_SERVER || flow->hidden)
		flow->hidden = is_hidden(sk, flow);
	if (!flow->hidden)
		count(COUNTER_OPENED);
}
