/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only) */
/* What there is to say of a session: how it ended, how much it carried, how healthy it was. */

static inline bool fin_acked(u64 sk, const struct flow *flow)
{
	return flow->sent_fin && READ(sk, TCP_SOCK_snd_una) == READ(sk, TCP_SOCK_write_seq);
}

/*
 * Whether this end saw all FINs that it had to wait for: after close(2), the peer's is TIME_WAIT's to wait for.
 * One that ends before that, without an error, was cut short by itself: it sent a reset.
 */
static inline bool in_order(u64 sk, bool our_fin_acked)
{
	return our_fin_acked && READ(sk, SOCK_COMMON_skc_flags) & (1ULL << SOCK_DONE | 1ULL << SOCK_DEAD);
}

/* Data for a socket that can receive no more: the kernel answers by a reset, and ends it as if it had got one. */
static inline bool refused_data(u64 sk, const struct flow *flow)
{
	return flow->sent_fin && READ(sk, SOCK_sk_shutdown) == SHUTDOWN_MASK &&
	       READ(sk, TCP_SOCK_data_segs_in) != flow->data_segments;
}

static inline u8 close_reason(u64 sk, const struct flow *flow, bool our_fin_acked, u16 error)
{
	switch (error) {
	case 0:
		if (in_order(sk, our_fin_acked))
			return flow->first_fin;
		return flow->end_missed ? 0 : CLOSE_REASON_LOCAL_RESET; /* the program may have taken the error */
	case ECONNRESET:
	case EPIPE: /* tcp_reset() in CLOSE_WAIT */
		return refused_data(sk, flow) ? CLOSE_REASON_LOCAL_RESET : CLOSE_REASON_PEER_RESET;
	case ETIMEDOUT:
		return CLOSE_REASON_TIMEOUT;
	case ECONNABORTED: /* tcp_abort() */
		return CLOSE_REASON_LOCAL_RESET;
	}
	if (in_order(sk, our_fin_acked)) /* an error that nobody asked for (IP_RECVERR), and that was overcome */
		return flow->first_fin;
	/* What ICMP said of the packets that were not answered, until the kernel gave up */
	return READ(sk, SOCK_sk_err_soft) == error ? CLOSE_REASON_TIMEOUT : CLOSE_REASON_OTHER;
}

/*
 * Whether a session whose start was not seen acknowledged a SYN, as a client's does: what bytes_acked has above the
 * payload that was sent for the first time and is no longer in flight. 2 where packets that were not sent blur it.
 */
static inline u64 acked_syn(u64 sk, u64 acked, bool sent_fin)
{
	u32 snd_una = READ(sk, TCP_SOCK_snd_una);
	u32 snd_nxt = READ(sk, TCP_SOCK_snd_nxt);
	u32 write_seq = READ(sk, TCP_SOCK_write_seq);
	bool fin_in_flight = sent_fin && snd_nxt == write_seq && snd_una != write_seq;
	u64 sent = READ(sk, TCP_SOCK_bytes_sent) - READ(sk, TCP_SOCK_bytes_retrans);
	u64 syn = acked - (sent - ((u32)(snd_nxt - snd_una) - fin_in_flight));

	return syn > 1 ? 2 : syn;
}

static inline u8 role_of_adopted(u64 sk, u64 acked, bool sent_fin)
{
	u64 syn = acked_syn(sk, acked, sent_fin);

	if (syn != acked_syn(sk, acked, sent_fin)) /* an interim report does not lock the socket */
		return 0;
	return syn == 1 ? ROLE_CLIENT : syn == 0 ? ROLE_SERVER : 0;
}

/* Payload only: bytes_received counts the peer's FIN. */
static inline u64 payload_received(u64 sk)
{
	bool fin_received = READ(sk, SOCK_COMMON_skc_flags) & (1ULL << SOCK_DONE);

	return READ(sk, TCP_SOCK_bytes_received) - fin_received;
}

/* Payload only: bytes_acked counts our SYN (a client's) and our FIN. */
static inline void read_bytes(u64 sk, const struct flow *flow, bool our_fin_acked, struct session *session)
{
	u64 acked = READ(sk, TCP_SOCK_bytes_acked) - our_fin_acked;

	if (flow->adopted && !flow->restored)
		session->role = role_of_adopted(sk, acked, flow->sent_fin);
	session->bytes_sent = acked - (session->role == ROLE_CLIENT);
	session->bytes_received = payload_received(sk);
}

/* What a session had before it was followed is none of what it does from now on. */
static inline void count_from_now(u64 sk, struct flow *flow)
{
	u64 acked = READ(sk, TCP_SOCK_bytes_acked) - fin_acked(sk, flow);

	flow->counted_bytes_sent = acked - (role_of_adopted(sk, acked, flow->sent_fin) == ROLE_CLIENT);
	flow->counted_bytes_received = payload_received(sk);
	flow->counted_retransmits = READ(sk, TCP_SOCK_total_retrans);
}

static inline void read_health(u64 sk, const struct flow *flow, struct session *session)
{
	u32 srtt = READ(sk, TCP_SOCK_srtt_us); /* in eighths; 0 before the first sample */

	session->rtt_smoothed = srtt ? srtt >> 3 : UNKNOWN;
	session->rtt_min = READ(sk + TCP_SOCK_rtt_min, MINMAX_SAMPLE_v); /* ~0 before the first sample */
	session->out_of_order = READ(sk, TCP_SOCK_rcv_ooopack);
	session->handshake_retransmits = flow->handshake_retransmits;
}

/* What was sent again, and how often because nothing was heard within the retransmission timeout (RFC 6298). */
static inline void read_retransmits(u64 sk, struct session *session)
{
	session->retransmits = READ(sk, TCP_SOCK_total_retrans);
#ifdef TCP_SOCK_total_rto /* since Linux 6.7 */
	session->timeouts = READ(sk, TCP_SOCK_total_rto);
#endif
}

static inline void read_session(u64 sk, const struct flow *flow, bool our_fin_acked, struct session *session)
{
	session->adopted = flow->adopted;
	session->duration = flow->established_at ? session->closed_at - flow->established_at : UNKNOWN_TIME;
	session->handshake = flow->handshake;
	read_bytes(sk, flow, our_fin_acked, session);
	read_health(sk, flow, session);
}

/*
 * Where ICMP comes while connect(2) has the socket, the kernel goes on, and leaves it to the program to ask for the error
 * and to give up. Of an error that was asked for, the error queue tells (IPv4, since Linux 5.19).
 */
static inline u16 error_of_icmp(u64 sk)
{
	u64 queue = sk + SOCK_sk_error_queue, last = READ(queue, SK_BUFF_HEAD_prev);
	u32 error = READ(sk, SOCK_sk_err_soft);

	if (!error && last != queue)
		error = READ(last + SK_BUFF_cb + SOCK_EXTERR_SKB_ee, SOCK_EXTENDED_ERR_ee_errno);
	return error;
}

static inline void read_failure(u64 sk, const struct flow *flow, struct session *session)
{
	if (!session->error)
		session->error = error_of_icmp(sk);
	session->duration = UNKNOWN_TIME;
	session->handshake = flow->started_at ? session->closed_at - flow->started_at : UNKNOWN_TIME;
	session->rtt_smoothed = session->rtt_min = UNKNOWN;
	session->handshake_retransmits = session->retransmits < 255 ? session->retransmits : 255;
}

static inline void read_flow(u64 sk, const struct flow *flow, bool our_fin_acked, struct session *session)
{
	session->id = flow->id;
	session->closed_at = bpf_ktime_get_ns();
	session->role = flow->role;
	session->reported = flow->reported;
	session->counted_bytes_sent = flow->counted_bytes_sent;
	session->counted_bytes_received = flow->counted_bytes_received;
	session->counted_retransmits = flow->counted_retransmits;
	session->owner_source = flow->owner_source;
	if (session->owner_source) /* else it may be an owner that the scan has put in doubt */
		COPY(&session->owner, &flow->owner);
	session->uid = READ(sk, SOCK_sk_uid);
	session->error = READ(sk, SOCK_sk_err);
	read_place(sk, session);
	read_endpoints(sk, &session->ends);
	read_retransmits(sk, session);
	session->ip_version = ip_version(session->ends.peer_address);
	if (flow->established)
		read_session(sk, flow, our_fin_acked, session);
	else
		read_failure(sk, flow, session);
}
