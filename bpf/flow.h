/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only) */
/* What is remembered of sockets while they are open. */

/* What is remembered of a socket while it is open. */
struct flow {
	u64 id;
	u64 started_at; /* 0 where it began before tracing did */
	u64 established_at;
	u64 reported_at; /* when it was last reported, or found open */
	u64 handshake;
	u64 counted_bytes_sent; /* what scans have counted until now; written by them alone, see scan.h */
	u64 counted_bytes_received;
	u32 counted_retransmits;
	u32 scanned_by; /* the last scan that has counted it */
	u8 established;
	u8 adopted : 1; /* it was open before tracing began */
	u8 hidden : 1; /* an end of a connection of the tracer, or of an exporter, never reported */
	u8 traced : 1; /* of a process that is traced, as far as is known */
	u8 end_missed : 1; /* it was found to have ended only when its socket was destroyed */
	u8 restored : 1; /* its state was set by TCP_REPAIR: its handshake was that of another socket */
	u8 of_kernel : 1; /* a kernel thread connected it, for no process */
	u8 ended : 1;
	u8 role;
	u8 owner_source;
	u8 first_fin; /* CLOSE_REASON_LOCAL_CLOSE or CLOSE_REASON_PEER_CLOSE: who sent FIN first; 0 before any */
	u8 sent_fin;
	u8 handshake_retransmits; /* segments that were sent again before ESTABLISHED */
	u8 reported; /* in interim reports */
	u32 data_segments; /* received when it sent FIN */
	struct owner owner;
};

/*
 * By the address of the socket. Written by the hooks of that socket, which the kernel runs one after the other, as it holds
 * the socket's lock when it changes its state; only the scan looks at a flow meanwhile, and writes no more than it must
 * (see scan.h).
 */
BPF_HASH(flows, u64, struct flow, MAX_SESSIONS);
#if FLOWS_BEFORE
/* Those of the program that this one has replaced, which had another number of places for them. None is added. */
BPF_HASH(flows_before, u64, struct flow, 1);
#endif
/* Sockets that found the map of flows full, so that their end is counted as what it is. Written as that one. */
BPF_HASH(overflowed, u64, u8, MAX_SESSIONS);
/*
 * How many more of them there are than have room there: which they are is not known, and does not change the count.
 * Written by all CPUs, by atomic additions.
 */
BPF_ARRAY(beyond_overflowed, s64, 1);

static inline u64 random_id(void)
{
	return (u64)bpf_get_prandom_u32() << 32 | bpf_get_prandom_u32();
}

/*
 * Functions such as this one have the pointer to the socket by value, and give the kernel the address of their copy as a
 * key: the verifier of Linux 6.1 and 6.12 does not know any more what a variable points to whose address was given away.
 */
static inline struct flow *flow_of(u64 sk)
{
	struct flow *flow = flows.lookup(&sk);

#if FLOWS_BEFORE
	if (!flow)
		flow = flows_before.lookup(&sk);
#endif
	return flow;
}

static inline void forget_flow(u64 sk)
{
	flows.delete(&sk);
#if FLOWS_BEFORE
	flows_before.delete(&sk);
#endif
}

/* Whether it is one that had no room, which is none any more. */
static inline bool forget_overflowed(u64 sk)
{
	return !overflowed.delete(&sk);
}

/* It came to an end of which nothing is known. */
static inline void end_unseen(const struct flow *flow)
{
	if (flow->hidden)
		return;
	if (flow->established)
		count(COUNTER_CLOSED);
	count_lost(COUNTER_NOT_FOLLOWED);
}

/* Another socket has this address now, and is not followed. The end of the one that is remembered was missed as a whole. */
static inline void end_flow_before(u64 sk)
{
	struct flow *before = flow_of(sk);

	if (!before)
		return;
	end_unseen(before);
	forget_flow(sk);
}

static inline void follow(u64 sk, const struct flow *flow)
{
	struct flow *before;
	u32 only = 0;
	u8 yes = 1;
	s64 *beyond;

#if FLOWS_BEFORE
	before = flows_before.lookup(&sk);
	if (before) {
		end_unseen(before);
		flows_before.delete(&sk);
	}
#endif
	if (!flows.insert(&sk, (struct flow *)flow))
		return;
	before = flows.lookup(&sk);
	if (before) { /* of another socket at this address, all of whose end was missed */
		end_unseen(before);
		COPY(before, flow);
		return;
	}
	if (!overflowed.update(&sk, &yes))
		return;
	beyond = beyond_overflowed.lookup(&only);
	if (beyond)
		__sync_fetch_and_add(beyond, 1);
	if (SCOPE_PROCESS)
		count_lost(COUNTER_MAP_FULL); /* its end will look like that of somebody else's */
}

/* Whether a socket that ends without a flow began when there was no room for one; else it began before tracing did. */
static inline bool found_no_room(u64 sk)
{
	u32 only = 0;
	s64 *beyond;

	if (forget_overflowed(sk))
		return true;
	if (SCOPE_PROCESS)
		return false;
	beyond = beyond_overflowed.lookup(&only);
	if (!beyond || *beyond <= 0)
		return false;
	__sync_fetch_and_add(beyond, -1);
	return true;
}
