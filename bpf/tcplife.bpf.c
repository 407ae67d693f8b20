/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only) */
/*
 * Follow each TCP socket from its handshake to CLOSE and hand one record for each session to user space.
 *
 * bcc compiles this without kernel headers. otel_tcplife/probe/program.py writes before it, as macros:
 *   <STRUCT>_<member>	the byte offset of each kernel struct member that is named here, from BTF
 *   SELECT_*		the filters of the command line, as expressions
 *   SCOPE_PROCESS	whether only the sessions of the agent's process, and of those that it forks, are followed
 *   HIDE_OWN		whether the connections of the agent's process are left out
 *   *_SIZE, ...	the sizes of the maps, and who the agent is
 * and after it one assertion for each field of struct session, from the NumPy dtype of otel_tcplife/session.py.
 */

#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_TCP 6
#define IPPROTO_MPTCP 262
#define SHUTDOWN_MASK 3	/* include/net/sock.h: both directions */
#define PF_EXITING 0x4	/* include/linux/sched.h */
#define PF_KTHREAD 0x200000
#define S_IFMT 0170000
#define S_IFSOCK 0140000
#define EPIPE 32
#define ECONNABORTED 103
#define ECONNRESET 104
#define ETIMEDOUT 110

/* include/net/tcp_states.h; the names are those of RFC 9293 */
enum {
	TCP_ESTABLISHED = 1,
	TCP_SYN_SENT,
	TCP_SYN_RECV,
	TCP_FIN_WAIT1,
	TCP_FIN_WAIT2,
	TCP_TIME_WAIT,
	TCP_CLOSE,
	TCP_CLOSE_WAIT,
	TCP_LAST_ACK,
	TCP_LISTEN,
	TCP_CLOSING,
};

/* The values of these enums are those of session.py. */
enum { SESSION_CLOSED = 1, CONNECT_FAILED, SESSION_PROGRESS };		/* event */
enum { CLIENT = 1, SERVER };						/* role */
enum { AT_CONNECT = 1, AT_CLOSE, ADOPTED };				/* owner_source */
enum { LOCAL_CLOSE = 1, PEER_CLOSE, LOCAL_RESET, PEER_RESET, TIMED_OUT, OTHER };	/* close_reason */

struct executable {
	char name[EXECUTABLE_SIZE];
};

struct owner {
	u32 pid;
	char comm[16];
	struct executable executable;
};

/* Both ends of a connection as one of them sees it. Addresses are IPv6, an IPv4 one in its mapped form. */
struct endpoints {
	u8 local_address[16];
	u8 peer_address[16];
	u16 local_port;
	u16 peer_port;
};

/* What is not known. */
#define UNKNOWN (~0U)
#define UNKNOWN_TIME (~0ULL)

/* What user space reads. Times are CLOCK_MONOTONIC ns, round trips us. */
struct session {
	u64 closed_at;
	u64 observed_at;	/* for user space to fill in */
	u64 duration;
	u64 handshake;
	u64 bytes_sent;
	u64 bytes_received;
	u64 cgroup;	/* id of the socket's cgroup (v2), 0 where the kernel has none */
	u32 netns;	/* inode of the socket's network namespace */
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
	u8 adopted;	/* it was open before tracing began */
	u8 reserved[4];
	struct owner owner;
};

/* What is remembered of a socket while it is open. */
struct flow {
	u64 started_at;	/* 0 where it began before tracing did */
	u64 established_at;
	u64 reported_at;	/* when it was last reported, or found open */
	u64 handshake;
	u8 established;
	u8 adopted : 1;		/* it was open before tracing began */
	u8 own : 1;		/* an end of a connection of the agent, never reported */
	u8 ours : 1;		/* of a process that is traced, as far as is known */
	u8 end_missed : 1;	/* it was found to have ended only when its socket was destroyed */
	u8 restored : 1;	/* its state was set by TCP_REPAIR: its handshake was that of another socket */
	u8 of_kernel : 1;	/* a kernel thread connected it, for no process */
	u8 left_to_kernel : 1;	/* a kernel thread closed it, for a process that is not known */
	u8 role;
	u8 owner_source;
	u8 first_fin;	/* LOCAL_CLOSE or PEER_CLOSE: who sent FIN first; 0 before any */
	u8 sent_fin;
	u32 data_segments;	/* received when it sent FIN */
	struct owner owner;
};

struct cgroup_path {
	char text[CGROUP_PATH_SIZE];
};

/* The loss balance. probe/counters.py has the same order. */
enum counter {
	SEEN,		/* sessions and connects that came to an end: the sum of the next five, and those unclaimed */
	SUBMITTED,	/* they are in the ring */
	FILTERED,	/* the filters do not select them */
	RING_FULL,	/* lost: no room in the ring */
	MAP_FULL,	/* lost: no room in the map of flows when they began */
	NOT_FOLLOWED,	/* lost: no process had them when tracing began; or all of their end was missed */
	OPENED,		/* followed sessions that reached ESTABLISHED */
	CLOSED,		/* followed sessions that came to an end after that */
	REPORTED,	/* interim reports in the ring, of sessions that go on */
	MISSED,		/* state changes that were not seen when they came, and were made up for */
};

/* One for each CPU, so wide that CPUs share no cache line, nor a pair fetched together. */
struct counters {
	u64 values[16];
};

BPF_HASH(flows, u64, struct flow, FLOWS_SIZE);
/* Sessions ended by a packet before their owner was seen: they wait for the task that closes the descriptor. */
BPF_HASH(unclaimed, u64, struct session, UNCLAIMED_SIZE);
/* Sockets that found the map of flows full, so that their end is counted as what it is. */
BPF_HASH(overflowed, u64, u8, FLOWS_SIZE);
/* How many more of them there are than have room there: which they are is not known, and does not change the count. */
BPF_ARRAY(beyond_overflowed, s64, 1);
/* What processes run, of those that are about to exit: since Linux 6.16 all of those; before, of all that may be. */
#ifdef TRACE_EVENT_RAW_SCHED_PROCESS_EXIT_group_dead
BPF_TABLE("lru_hash", u32, struct executable, executables, 1024);
#else
BPF_TABLE("lru_hash", u32, struct executable, executables, 16384);
#endif
BPF_TABLE("lru_hash", u64, struct cgroup_path, cgroup_paths, 4096);
/* The agent's connections as their other end sees them. */
BPF_TABLE("lru_hash", struct endpoints, u8, own_connections, 1024);
BPF_F_TABLE("array", u32, struct counters, counters, CPUS, BPF_F_MMAPABLE);
#if !SCOPE_PROCESS
/* Empty: while there is a map of this name, sessions of the whole host are collected. See probe/host_collector.py. */
BPF_ARRAY(tcplife_host, u8, 1);
#endif
BPF_RINGBUF_OUTPUT(ring, RING_PAGES);

#define htons(port) __builtin_bswap16(port)
#define htonl(address) __builtin_bswap32(address)

#define READ_INTO(to, size, base, offset) bpf_probe_read_kernel(to, size, (void *)(base) + (offset))

#define READ(type, base, offset) ({						\
	type value = 0;								\
	READ_INTO(&value, sizeof(value), base, offset);				\
	value;									\
})

static inline void count(enum counter which)
{
	u32 cpu = bpf_get_smp_processor_id();
	struct counters *counter = counters.lookup(&cpu);

	if (counter)
		__sync_fetch_and_add(&counter->values[which], 1);
}

static inline bool is_agent(void)
{
	struct bpf_pidns_info id = {};

	if (bpf_get_ns_current_pid_tgid(PIDNS_DEVICE, PIDNS_INODE, &id, sizeof(id)))
		return false;
	return id.tgid == AGENT_PID;
}

static inline u32 netns(u64 sk)
{
	return READ(u32, READ(u64, sk, SOCK_COMMON_skc_net), NET_ns + NS_COMMON_inum);
}

#if SCOPE_PROCESS
/* Where a process of ours listens. */
struct listening {
	u32 netns;
	u32 port;
};

/* The agent's process, once it was seen, and those that it forked and that run the same program, with their tasks. */
BPF_HASH(ours, u32, u64, 4096);
BPF_TABLE("lru_hash", struct listening, u8, listening, 1024);
/*
 * Whether tracing has begun, as the agent's process says by its first scan: what it forked before then traces itself,
 * and what it forks from then on does not. Both are sure of that, as it holds its forks off meanwhile.
 */
BPF_ARRAY(begun, u8, 1);

static inline bool is_one_of_ours(u32 pid)
{
	return ours.lookup(&pid) != NULL;
}

/* Whether the running task is. */
static inline bool is_ours(void)
{
	u32 pid = bpf_get_current_pid_tgid() >> 32, only = 0;
	u64 task = READ(u64, bpf_get_current_task(), TASK_STRUCT_group_leader);
	u8 *has_begun = begun.lookup(&only);

	if (ours.lookup(&pid))
		return true;
	if (!has_begun || !*has_begun || !is_agent())
		return false;
	ours.update(&pid, &task);
	return true;
}

static inline void begin(void)
{
	u32 only = 0;
	u8 yes = 1;

	if (is_agent())
		begun.update(&only, &yes);
}

static inline void listens(u64 sk)
{
	struct listening here = { .netns = netns(sk), .port = READ(u16, sk, SOCK_COMMON_skc_num) };
	u8 yes = 1;

	listening.update(&here, &yes);
}

/* The socket that a listener makes has its port. */
static inline bool listened_by_ours(u64 sk)
{
	struct listening here = { .netns = netns(sk), .port = READ(u16, sk, SOCK_COMMON_skc_num) };

	return listening.lookup(&here) != NULL;
}

static inline void forked_by_ours(u32 child, u64 task)
{
	if (is_ours())
		ours.update(&child, &task);
	else
		ours.delete(&child);	/* its pid may have been that of one of ours */
}

/* It has closed its descriptors, and was waited for. Its pid may already be another's. */
RAW_TRACEPOINT_PROBE(sched_process_free)
{
	u64 task = ctx->args[0], *known;
	u32 pid = READ(u32, task, TASK_STRUCT_tgid);

	known = ours.lookup(&pid);
	if (known && *known == task)
		ours.delete(&pid);
	return 0;
}

/* Another program, which is traced by an agent of its own or not at all. */
static inline void another_program(u32 pid)
{
	if (!is_agent())
		ours.delete(&pid);
}
#else
#define is_one_of_ours(pid) true
#define is_ours() true
#define begin() do { } while (0)
#define listens(sk) do { } while (0)
#define listened_by_ours(sk) true
#define forked_by_ours(child, task) do { } while (0)
#define another_program(pid) do { } while (0)
#endif

/* The base name of a task's program; left empty where it is unknown or would have to be cut. */
static inline void read_executable(u64 task, struct executable *executable)
{
	u64 mm = READ(u64, task, TASK_STRUCT_mm);
	u64 file = mm ? READ(u64, mm, MM_STRUCT_exe_file) : 0;
	u64 dentry = file ? READ(u64, file, FILE_f_path + PATH_dentry) : 0;

	if (!dentry || READ(u32, dentry, DENTRY_d_name + QSTR_len) >= EXECUTABLE_SIZE)
		return;
	bpf_probe_read_kernel_str(executable->name, EXECUTABLE_SIZE,
				  (void *)READ(u64, dentry, DENTRY_d_name + QSTR_name));
}

/* A task that exits closes its descriptors when its program is no longer known: it is kept from before that. */
static inline void keep_executable(u64 task)
{
	u32 pid = READ(u32, task, TASK_STRUCT_tgid);
	struct executable executable = {};

	read_executable(task, &executable);
	if (executable.name[0])
		executables.update(&pid, &executable);
}

#ifdef TRACE_EVENT_RAW_SCHED_PROCESS_EXIT_group_dead
/* Since Linux 6.16, which added that field, this comes before the task gives its memory, and with that its program, up. */
RAW_TRACEPOINT_PROBE(sched_process_exit)
{
	keep_executable(ctx->args[0]);
	return 0;
}
#define keep_executable_of_running(task) do { } while (0)
#define keep_executable_of_scanned(task) do { } while (0)
#else
#define keep_executable_of_running(task) keep_executable(task)

/* One that ran before tracing began; it is met once for each of its descriptors. */
static inline void keep_executable_of_scanned(u64 task)
{
	u32 pid = READ(u32, task, TASK_STRUCT_tgid);

	if (!executables.lookup(&pid))
		keep_executable(task);
}
#endif

#if SCOPE_PROCESS || !defined(TRACE_EVENT_RAW_SCHED_PROCESS_EXIT_group_dead)
RAW_TRACEPOINT_PROBE(sched_process_fork)
{
	u64 task = ctx->args[1];
	u32 parent = READ(u32, ctx->args[0], TASK_STRUCT_tgid), child = READ(u32, task, TASK_STRUCT_tgid);

	if (parent == child)
		return 0;	/* a thread */
	keep_executable_of_running(task);
	forked_by_ours(child, task);
	return 0;
}

RAW_TRACEPOINT_PROBE(sched_process_exec)
{
	u64 task = ctx->args[0];

	keep_executable_of_running(task);
	another_program(READ(u32, task, TASK_STRUCT_tgid));
	return 0;
}
#endif

static inline void recall_executable(u64 task, struct owner *owner)
{
	struct executable *kept = executables.lookup(&owner->pid);

	if (kept && READ(u32, task, TASK_STRUCT_flags) & PF_EXITING)
		owner->executable = *kept;
}

/* The process of a task; its name is the thread group leader's, not this thread's. */
static inline void read_owner_of(u64 task, struct owner *owner)
{
	u64 leader = READ(u64, task, TASK_STRUCT_group_leader);

	owner->pid = READ(u32, task, TASK_STRUCT_tgid);
	bpf_probe_read_kernel_str(owner->comm, sizeof(owner->comm), (void *)leader + TASK_STRUCT_comm);
	read_executable(task, &owner->executable);
	if (!owner->executable.name[0])
		recall_executable(task, owner);
}

/*
 * A kernel thread owns nothing. It closes a socket for a process that gave it up before, such as one whose last reference
 * was that of an asynchronous poll, of a message that nobody received, or of Multipath TCP; or it serves the kernel.
 */
static inline bool in_kernel_thread(void)
{
	return READ(u32, bpf_get_current_task(), TASK_STRUCT_flags) & PF_KTHREAD;
}

#if defined(MPTCP_SUBFLOW_CONTEXT_conn) && defined(MPTCP_SOCK_first) && defined(TCP_SOCK_is_mptcp)
/*
 * Who connected or closed the socket of Multipath TCP at this address: a worker of the kernel closes its TCP connections,
 * the subflows, and connects further ones.
 */
BPF_TABLE("lru_hash", u64, struct owner, mptcp_owners, 4096);

static inline void mptcp_changes(u64 msk, int old_state, int state)
{
	struct owner owner = {};

	if (state == TCP_SYN_RECV || (state == TCP_ESTABLISHED && old_state != TCP_SYN_SENT)) {
		mptcp_owners.delete(&msk);	/* accepted anew, by whom is not known yet */
	} else if (state == TCP_SYN_SENT || state == TCP_FIN_WAIT1 || state == TCP_LAST_ACK) {
		if (in_kernel_thread())
			return;
		read_owner_of(bpf_get_current_task(), &owner);
		mptcp_owners.update(&msk, &owner);
	}
}

static inline bool read_mptcp_owner(u64 sk, struct owner *owner)
{
	u64 context, msk;
	struct owner *known;

	if (!READ(u8, sk, TCP_SOCK_is_mptcp))
		return false;
	context = READ(u64, sk, INET_CONNECTION_SOCK_icsk_ulp_data);
	msk = context ? READ(u64, context, MPTCP_SUBFLOW_CONTEXT_conn) : 0;
	known = mptcp_owners.lookup(&msk);
	if (!known)
		return false;
	*owner = *known;
	return true;
}
/* The TCP socket that a socket of Multipath TCP began with: no descriptor leads to it. */
static inline u64 first_subflow(u64 msk)
{
	return READ(u64, msk, MPTCP_SOCK_first);
}
#else
#define mptcp_changes(msk, old_state, state) do { } while (0)
#define first_subflow(msk) 0
#define read_mptcp_owner(sk, owner) false
#endif

/* The process for which the running task connects or closes a socket. False where that is not known, or none. */
static inline bool read_owner(u64 sk, struct owner *owner)
{
	if (in_kernel_thread())
		return read_mptcp_owner(sk, owner);
	read_owner_of(bpf_get_current_task(), owner);
	return true;
}

/* Whether that process is traced. */
static inline bool is_owned_by_ours(const struct owner *owner)
{
	return is_ours() || is_one_of_ours(owner->pid);
}

static inline void read_endpoints(u64 sk, struct endpoints *ends)
{
	if (READ(u16, sk, SOCK_COMMON_skc_family) == AF_INET) {
		ends->local_address[10] = ends->local_address[11] = 0xff;
		ends->peer_address[10] = ends->peer_address[11] = 0xff;
		READ_INTO(ends->local_address + 12, 4, sk, SOCK_COMMON_skc_rcv_saddr);
		READ_INTO(ends->peer_address + 12, 4, sk, SOCK_COMMON_skc_daddr);
	} else {
		READ_INTO(ends->local_address, 16, sk, SOCK_COMMON_skc_v6_rcv_saddr);
		READ_INTO(ends->peer_address, 16, sk, SOCK_COMMON_skc_v6_daddr);
	}
	/* skc_num is already 0 at CLOSE, inet_sport is not */
	ends->local_port = htons(READ(u16, sk, INET_SOCK_inet_sport));
	ends->peer_port = htons(READ(u16, sk, SOCK_COMMON_skc_dport));
}

static inline void swap_ends(struct endpoints *ends)
{
	struct endpoints seen_here = *ends;

	__builtin_memcpy(ends->local_address, seen_here.peer_address, 16);
	__builtin_memcpy(ends->peer_address, seen_here.local_address, 16);
	ends->local_port = seen_here.peer_port;
	ends->peer_port = seen_here.local_port;
}

static inline u8 ip_version(const u8 *address)
{
	u64 high;
	u32 middle;

	__builtin_memcpy(&high, address, 8);
	__builtin_memcpy(&middle, address + 8, 4);
	return !high && middle == htonl(0xffff) ? 4 : 6;
}

static inline bool selected(const struct session *session)
{
	return SELECT_IP_VERSION(session->ip_version) &&
	       SELECT_LOCAL_PORT(session->ends.local_port) && SELECT_PEER_PORT(session->ends.peer_port);
}

/* Every record leaves through here, so that it is counted exactly once. */
static inline void submit(struct session *session, bool ours)
{
	if (!ours || !SELECT_PID(session->owner.pid))
		count(FILTERED);
	else if (ring.ringbuf_output(session, sizeof(*session), BPF_RB_NO_WAKEUP))
		count(RING_FULL);
	else
		count(SUBMITTED);
}

/* Whether it is the socket of this session, not another one at its address; one that was disconnected has no peer. */
static inline bool has_peer_of(u64 sk, const struct session *session)
{
	u16 port = htons(READ(u16, sk, SOCK_COMMON_skc_dport));

	return !port || port == session->ends.peer_port;
}

/* The running task has the descriptor of a socket whose session has ended: it is the owner. */
static inline void claim(u64 sk)
{
	struct session *waiting = unclaimed.lookup(&sk);
	struct session session;

	if (!waiting)
		return;
	if (SCOPE_PROCESS && in_kernel_thread())
		return;	/* whether it is ours is not known, nor will be: user space counts it */
	session = *waiting;
	if (unclaimed.delete(&sk))
		return;	/* user space took it, having waited long enough */
	if (!has_peer_of(sk, &session)) {
		submit(&session, !SCOPE_PROCESS);
		return;
	}
	if (read_owner(sk, &session.owner))
		session.owner_source = AT_CLOSE;
	submit(&session, is_owned_by_ours(&session.owner));
}

/* Have a session wait for that. False where there is no room. */
static inline bool waits(u64 sk, struct session *session)
{
	if (!unclaimed.insert(&sk, session))
		return true;
	if (unclaimed.delete(&sk))
		return false;
	count(NOT_FOLLOWED);	/* of another socket at this address, whose end was missed */
	return !unclaimed.insert(&sk, session);
}

/* It came to an end of which nothing is known. */
static inline void lose(const struct flow *flow)
{
	if (flow->own)
		return;
	if (flow->established)
		count(CLOSED);
	count(SEEN);
	count(NOT_FOLLOWED);
}

static inline void follow(u64 sk, const struct flow *flow)
{
	struct flow *before;
	u32 only = 0;
	u8 yes = 1;
	s64 *beyond;

	if (!flows.insert(&sk, (struct flow *)flow))
		return;
	before = flows.lookup(&sk);
	if (before) {	/* of another socket at this address, all of whose end was missed */
		lose(before);
		*before = *flow;
		return;
	}
	if (!overflowed.update(&sk, &yes))
		return;
	beyond = beyond_overflowed.lookup(&only);
	if (beyond)
		__sync_fetch_and_add(beyond, 1);
	if (SCOPE_PROCESS) {	/* its end will look like that of somebody else's */
		count(SEEN);
		count(MAP_FULL);
	}
}

/* Whether a socket that ends without a flow began when there was no room for one; else it began before tracing did. */
static inline bool found_no_room(u64 sk)
{
	u32 only = 0;
	s64 *beyond;

	if (!overflowed.delete(&sk))
		return true;
	if (SCOPE_PROCESS)
		return false;
	beyond = beyond_overflowed.lookup(&only);
	if (!beyond || *beyond <= 0)
		return false;
	__sync_fetch_and_add(beyond, -1);
	return true;
}

static inline void connect_begins(u64 sk)
{
	struct flow flow = { .role = CLIENT, .ours = 1 };

	if (!is_ours() && !in_kernel_thread())
		return;
	if (read_owner(sk, &flow.owner))
		flow.owner_source = AT_CONNECT;
	else
		flow.of_kernel = 1;
	if (!is_owned_by_ours(&flow.owner))
		return;
	flow.started_at = bpf_ktime_get_ns();
	flow.own = HIDE_OWN && is_agent();
	follow(sk, &flow);
}

static inline void accept_begins(u64 sk)
{
	struct flow flow = { .role = SERVER, .ours = !SCOPE_PROCESS };

	if (!listened_by_ours(sk))
		return;
	flow.started_at = bpf_ktime_get_ns();
	follow(sk, &flow);
}

/* Linux makes a server's socket when the handshake ends; the RTT of its SYN-ACK is then the only RTT sample. */
static inline u64 server_handshake(u64 sk, u64 since_socket)
{
	u32 rtt = READ(u32, sk, TCP_SOCK_srtt_us) >> 3;
	u64 since_syn_ack = rtt * 1000ULL;

	/* Sent twice or forgotten (SYN cookies), it has no RTT, or that of the timestamp option: whole ms, up to 64 too many */
	if (rtt % 1000 == 0 || READ(u32, sk, TCP_SOCK_total_retrans))
		return UNKNOWN_TIME;
	return since_socket > since_syn_ack ? since_socket : since_syn_ack;	/* the former with fast open */
}

/*
 * A client becomes established when its SYN is acknowledged. Where none was, TCP_REPAIR has set the state of a session
 * that began in another socket, at either side: what that one did is not known.
 */
static inline void look_for_repair(u64 sk, struct flow *flow)
{
	if (flow->role != CLIENT || READ(u64, sk, TCP_SOCK_bytes_acked))
		return;
	flow->restored = flow->adopted = 1;
	flow->role = 0;
	flow->started_at = flow->established_at = 0;
	flow->handshake = UNKNOWN_TIME;
}

static inline void established(u64 sk, struct flow *flow)
{
	struct endpoints ends = {};
	u8 yes = 1;

	flow->established = 1;
	flow->established_at = flow->reported_at = bpf_ktime_get_ns();
	flow->handshake = flow->started_at ? flow->established_at - flow->started_at : UNKNOWN_TIME;
	if (flow->role == SERVER)
		flow->handshake = server_handshake(sk, flow->handshake);
	look_for_repair(sk, flow);
	if (flow->role == SERVER || flow->own) {
		read_endpoints(sk, &ends);
		if (!flow->own) {
			flow->own = own_connections.lookup(&ends) != NULL;
		} else {
			swap_ends(&ends);
			own_connections.update(&ends, &yes);
		}
	}
	if (!flow->own)
		count(OPENED);
}

static inline bool has_sent_fin(int state)
{
	return state == TCP_FIN_WAIT1 || state == TCP_FIN_WAIT2 || state == TCP_CLOSING || state == TCP_LAST_ACK;
}

/* The running task closes it, or has it closed. */
static inline void owned_by_closer(u64 sk, struct flow *flow)
{
	if (flow->of_kernel)
		return;
	if (!read_owner(sk, &flow->owner)) {
		flow->left_to_kernel = 1;
		return;
	}
	flow->owner_source = AT_CLOSE;
	flow->ours = is_owned_by_ours(&flow->owner);
}

/* FIN_WAIT1 and LAST_ACK are entered by close(2) or shutdown(2), so the running task has the descriptor. */
static inline void fin_sent(u64 sk, struct flow *flow, u8 first)
{
	flow->sent_fin = 1;
	flow->data_segments = READ(u32, sk, TCP_SOCK_data_segs_in);
	if (!flow->first_fin)
		flow->first_fin = first;
	if (!flow->owner_source)
		owned_by_closer(sk, flow);
}

static inline bool fin_acked(u64 sk, const struct flow *flow)
{
	return flow->sent_fin && READ(u32, sk, TCP_SOCK_snd_una) == READ(u32, sk, TCP_SOCK_write_seq);
}

/*
 * Whether this end saw all FINs that it had to wait for: after close(2), the peer's is TIME_WAIT's to wait for.
 * One that ends before that, without an error, was cut short by itself: it sent a reset.
 */
static inline bool in_order(u64 sk, const struct flow *flow)
{
	u64 flags = READ(u64, sk, SOCK_COMMON_skc_flags);

	return fin_acked(sk, flow) && flags & (1ULL << SOCK_DONE | 1ULL << SOCK_DEAD);
}

/* Data for a socket that can receive no more: the kernel answers by a reset, and ends it as if it had got one. */
static inline bool refused_data(u64 sk, const struct flow *flow)
{
	return flow->sent_fin && READ(u8, sk, SOCK_sk_shutdown) == SHUTDOWN_MASK &&
	       READ(u32, sk, TCP_SOCK_data_segs_in) != flow->data_segments;
}

static inline u8 close_reason(u64 sk, const struct flow *flow, u16 error)
{
	switch (error) {
	case 0:
		if (in_order(sk, flow))
			return flow->first_fin;
		return flow->end_missed ? 0 : LOCAL_RESET;	/* the program may have taken the error */
	case ECONNRESET:
	case EPIPE:	/* tcp_reset() in CLOSE_WAIT */
		return refused_data(sk, flow) ? LOCAL_RESET : PEER_RESET;
	case ETIMEDOUT:
		return TIMED_OUT;
	case ECONNABORTED:	/* tcp_abort() */
		return LOCAL_RESET;
	}
	if (in_order(sk, flow))	/* an error that nobody asked for (IP_RECVERR), and that was overcome */
		return flow->first_fin;
	/* What ICMP said of the packets that were not answered, until the kernel gave up */
	return READ(u32, sk, SOCK_sk_err_soft) == error ? TIMED_OUT : OTHER;
}

/*
 * Whether a session whose start was not seen acknowledged a SYN, as a client's does: what bytes_acked has above the
 * payload that was sent for the first time and is no longer in flight. 2 where packets that were not sent blur it.
 */
static inline u64 acked_syn(u64 sk, u64 acked, bool sent_fin)
{
	u32 snd_una = READ(u32, sk, TCP_SOCK_snd_una);
	u32 snd_nxt = READ(u32, sk, TCP_SOCK_snd_nxt);
	u32 write_seq = READ(u32, sk, TCP_SOCK_write_seq);
	bool fin_in_flight = sent_fin && snd_nxt == write_seq && snd_una != write_seq;
	u64 sent = READ(u64, sk, TCP_SOCK_bytes_sent) - READ(u64, sk, TCP_SOCK_bytes_retrans);
	u64 syn = acked - (sent - ((u32)(snd_nxt - snd_una) - fin_in_flight));

	return syn > 1 ? 2 : syn;
}

static inline u8 role_of_adopted(u64 sk, u64 acked, bool sent_fin)
{
	u64 syn = acked_syn(sk, acked, sent_fin);

	if (syn != acked_syn(sk, acked, sent_fin))	/* an interim report does not lock the socket */
		return 0;
	return syn == 1 ? CLIENT : syn == 0 ? SERVER : 0;
}

/* Payload only: bytes_acked counts our SYN (a client's) and our FIN, bytes_received the peer's FIN. */
static inline void read_bytes(u64 sk, const struct flow *flow, struct session *session)
{
	bool fin_received = READ(u64, sk, SOCK_COMMON_skc_flags) & (1ULL << SOCK_DONE);
	u64 acked = READ(u64, sk, TCP_SOCK_bytes_acked) - fin_acked(sk, flow);

	if (flow->adopted && !flow->restored)
		session->role = role_of_adopted(sk, acked, flow->sent_fin);
	session->bytes_sent = acked - (session->role == CLIENT);
	session->bytes_received = READ(u64, sk, TCP_SOCK_bytes_received) - fin_received;
}

static inline u64 cgroup_id(u64 cgroup)
{
	u64 node = cgroup ? READ(u64, cgroup, CGROUP_kn) : 0;

	return node ? READ(u64, node, KERNFS_NODE_id) : 0;
}

/* The cgroup (v2) of a socket. Before Linux 5.15 its place holds other things instead where one of two bits is set. */
static inline u64 cgroup_of(u64 sk)
{
	u64 cgroup = 0;

#if defined(SOCK_CGROUP_DATA_cgroup)
	cgroup = READ(u64, sk, SOCK_sk_cgrp_data + SOCK_CGROUP_DATA_cgroup);
#elif defined(SOCK_CGROUP_DATA_val)
	cgroup = READ(u64, sk, SOCK_sk_cgrp_data + SOCK_CGROUP_DATA_val);
	if (cgroup & 3)
		return 0;
#endif
	return cgroup;
}

/* Where the socket lives, whoever runs now. */
static inline void read_place(u64 sk, struct session *session)
{
	session->netns = netns(sk);
	session->cgroup = cgroup_id(cgroup_of(sk));
}

static inline void read_health(u64 sk, struct session *session)
{
	u32 srtt = READ(u32, sk, TCP_SOCK_srtt_us);	/* in eighths; 0 before the first sample */

	session->rtt_smoothed = srtt ? srtt >> 3 : UNKNOWN;
	session->rtt_min = READ(u32, sk, TCP_SOCK_rtt_min + MINMAX_SAMPLE_v);	/* ~0 before the first sample */
	session->retransmits = READ(u32, sk, TCP_SOCK_total_retrans);
}

static inline void read_session(u64 sk, const struct flow *flow, struct session *session)
{
	session->adopted = flow->adopted;
	session->duration = flow->established_at ? session->closed_at - flow->established_at : UNKNOWN_TIME;
	session->handshake = flow->handshake;
	read_bytes(sk, flow, session);
	read_health(sk, session);
}

/*
 * Where ICMP comes while connect(2) has the socket, the kernel goes on, and leaves it to the program to ask for the error
 * and to give up. Of an error that was asked for, the error queue tells (IPv4, since Linux 5.19).
 */
static inline u16 error_of_icmp(u64 sk)
{
	u64 queue = sk + SOCK_sk_error_queue, last = READ(u64, queue, SK_BUFF_HEAD_prev);
	u32 error = READ(u32, sk, SOCK_sk_err_soft);

	if (!error && last != queue)
		error = READ(u32, last, SK_BUFF_cb + SOCK_EXTERR_SKB_ee + SOCK_EXTENDED_ERR_ee_errno);
	return error;
}

static inline void read_failure(u64 sk, const struct flow *flow, struct session *session)
{
	if (!session->error)
		session->error = error_of_icmp(sk);
	session->duration = UNKNOWN_TIME;
	session->handshake = flow->started_at ? session->closed_at - flow->started_at : UNKNOWN_TIME;
	session->rtt_smoothed = session->rtt_min = UNKNOWN;
}

static inline void read_flow(u64 sk, const struct flow *flow, struct session *session)
{
	session->closed_at = bpf_ktime_get_ns();
	session->role = flow->role;
	session->owner_source = flow->owner_source;
	session->owner = flow->owner;
	session->uid = READ(u32, sk, SOCK_sk_uid);
	session->error = READ(u32, sk, SOCK_sk_err);
	read_place(sk, session);
	read_endpoints(sk, &session->ends);
	session->ip_version = ip_version(session->ends.peer_address);
	if (flow->established)
		read_session(sk, flow, session);
	else
		read_failure(sk, flow, session);
}

static inline void ended(u64 sk, const struct flow *flow, bool owner_comes)
{
	struct session session = {};

	read_flow(sk, flow, &session);
	session.event = flow->established ? SESSION_CLOSED : CONNECT_FAILED;
	if (flow->established)
		session.close_reason = close_reason(sk, flow, session.error);
	if (!selected(&session))
		count(FILTERED);
	else if (session.owner_source || !owner_comes || !waits(sk, &session))
		submit(&session, flow->ours);
}

static inline void forget_own(u64 sk)
{
	struct endpoints ends = {};

	read_endpoints(sk, &ends);
	swap_ends(&ends);
	own_connections.delete(&ends);
}

/*
 * A state change is missed where it comes within this program, in an interrupt: the kernel runs a program once at a time
 * on each CPU. What is known only from it is then unknown, and nothing else is.
 */
static inline void make_up(u64 sk, struct flow *flow, int state)
{
	bool opened = state != TCP_SYN_SENT && state != TCP_SYN_RECV;

	/* With fast open, the server's program has what came in the SYN before the handshake ends. */
	if (!flow->established && (opened || (flow->role == SERVER && READ(u64, sk, TCP_SOCK_bytes_received)))) {
		flow->established = 1;
		flow->handshake = UNKNOWN_TIME;
		look_for_repair(sk, flow);
		count(OPENED);
		if (opened)
			count(MISSED);
	}
	if (!flow->sent_fin && has_sent_fin(state)) {
		flow->sent_fin = 1;
		count(MISSED);
	}
}

static inline void flow_ends(u64 sk, struct flow *flow, int state)
{
	bool closing = READ(u8, sk, SOCK_sk_shutdown) == SHUTDOWN_MASK;

	if (flow->own) {
		forget_own(sk);
		return;
	}
	make_up(sk, flow, state);
	if (flow->established)
		count(CLOSED);
	else if (flow->role == SERVER)
		return;	/* a handshake that the server gave up is no session */
	count(SEEN);
	/* Within close(2), which sends a reset, or within connect(2) to AF_UNSPEC: what a packet ends has an error */
	if (!flow->owner_source && !flow->sent_fin && (closing || !READ(u32, sk, SOCK_sk_err)))
		owned_by_closer(sk, flow);
	ended(sk, flow, !flow->sent_fin || (SCOPE_PROCESS && flow->left_to_kernel));
}

static inline void end_without_flow(u64 sk, int state)
{
	bool no_room;

	if (state == TCP_CLOSE || state == TCP_LISTEN)
		return;
	no_room = found_no_room(sk);
	if (state == TCP_SYN_RECV)
		return;
	if (SCOPE_PROCESS && !no_room)
		return;	/* somebody else's */
	count(SEEN);
	count(no_room ? MAP_FULL : NOT_FOLLOWED);
}

/* A session that was open before it was followed, in this state. */
static inline void found_open(struct flow *flow, int state)
{
	flow->adopted = flow->established = 1;
	flow->reported_at = bpf_ktime_get_ns();
	flow->handshake = UNKNOWN_TIME;
	flow->sent_fin = has_sent_fin(state);
	flow->first_fin = state == TCP_CLOSE_WAIT || state == TCP_LAST_ACK ? PEER_CLOSE : flow->sent_fin ? LOCAL_CLOSE : 0;
}

#if SCOPE_PROCESS
/* Of an accepted socket that another process handed to ours, nothing is known until ours closes it. */
static inline struct flow *closed_by_ours(u64 sk, int old_state, int state)
{
	bool closing = state != TCP_CLOSE || READ(u8, sk, SOCK_sk_shutdown) == SHUTDOWN_MASK;
	struct flow flow = {};
	u32 only = 0;
	s64 *beyond;

	if (state == TCP_CLOSE_WAIT || (old_state != TCP_ESTABLISHED && old_state != TCP_CLOSE_WAIT))
		return NULL;
	if (!closing || !is_ours() || overflowed.lookup(&sk))
		return NULL;
	beyond = beyond_overflowed.lookup(&only);
	if (beyond && *beyond)
		return NULL;	/* it may be one of those, which are counted */
	found_open(&flow, old_state);
	if (flows.insert(&sk, &flow))
		return NULL;
	count(OPENED);
	return flows.lookup(&sk);
}
#else
#define closed_by_ours(sk, old_state, state) NULL
#endif

RAW_TRACEPOINT_PROBE(inet_sock_set_state)
{
	u64 sk = ctx->args[0];
	int old_state = ctx->args[1];
	struct flow *flow;

	if (READ(u16, sk, SOCK_sk_protocol) == IPPROTO_MPTCP)
		mptcp_changes(sk, old_state, (int)ctx->args[2]);
	if (READ(u16, sk, SOCK_sk_protocol) != IPPROTO_TCP)
		return 0;

	switch ((int)ctx->args[2]) {
	case TCP_SYN_SENT:
		connect_begins(sk);
		return 0;
	case TCP_SYN_RECV:
		if (old_state != TCP_SYN_SENT)	/* simultaneous open: still the client that it was */
			accept_begins(sk);
		return 0;
	case TCP_LISTEN:
		if (is_ours())
			listens(sk);
		return 0;
	}

	flow = flows.lookup(&sk);
	if (!flow)
		flow = closed_by_ours(sk, old_state, (int)ctx->args[2]);
	switch ((int)ctx->args[2]) {
	case TCP_ESTABLISHED:
		if (flow)
			established(sk, flow);
		break;
	case TCP_FIN_WAIT1:
		if (flow)
			fin_sent(sk, flow, LOCAL_CLOSE);
		break;
	case TCP_CLOSE_WAIT:
		if (flow && !flow->first_fin)
			flow->first_fin = PEER_CLOSE;
		break;
	case TCP_LAST_ACK:
		if (flow)
			fin_sent(sk, flow, PEER_CLOSE);
		break;
	case TCP_CLOSE:
		if (!flow) {
			end_without_flow(sk, old_state);
			break;
		}
		if (old_state == TCP_LISTEN)	/* of another socket at this address, all of whose end was missed */
			lose(flow);
		else
			flow_ends(sk, flow, old_state);
		flows.delete(&sk);
		break;
	}
	return 0;
}

RAW_TRACEPOINT_PROBE(tcp_destroy_sock)
{
	u64 sk = ctx->args[0];

	struct flow *flow = flows.lookup(&sk);

	if (flow) {	/* its CLOSE was missed, and with it when that was */
		count(MISSED);
		flow->end_missed = 1;
		flow->started_at = flow->established_at = 0;
		if (READ(u16, sk, SOCK_COMMON_skc_dport))
			flow_ends(sk, flow, flow->sent_fin ? TCP_FIN_WAIT1 :
					    flow->established ? TCP_ESTABLISHED : TCP_SYN_SENT);
		else	/* and whom it had as a peer is forgotten */
			lose(flow);
		flows.delete(&sk);
	} else if (!overflowed.delete(&sk)) {	/* and so was this one's */
		count(MISSED);
		count(SEEN);
		count(MAP_FULL);
	}
	claim(sk);
	return 0;
}

/* A container may be gone when its last session is read: its cgroup's path is kept from when it was made. */
RAW_TRACEPOINT_PROBE(cgroup_mkdir)
{
	u64 cgroup = ctx->args[0], id = cgroup_id(cgroup);
	struct cgroup_path path = {};

	if (READ(int, READ(u64, cgroup, CGROUP_root), CGROUP_ROOT_hierarchy_id) != 0)
		return 0;	/* of cgroup v1, where sockets are not */
	bpf_probe_read_kernel_str(path.text, sizeof(path.text), (void *)ctx->args[1]);
	cgroup_paths.update(&id, &path);
	return 0;
}

/* include/linux/bpf.h, kernel/bpf/task_iter.c */
struct bpf_iter_meta;
struct bpf_iter__task_file {
	union { struct bpf_iter_meta *meta; u64 : 64; };
	union { void *task; u64 : 64; };
	u32 fd __attribute__((aligned(8)));
	union { void *file; u64 : 64; };
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

	read_flow(sk, flow, &session);
	session.event = SESSION_PROGRESS;
	flow->reported_at = session.closed_at;
	if (selected(&session) && SELECT_PID(session.owner.pid) &&
	    !ring.ringbuf_output(&session, sizeof(session), BPF_RB_NO_WAKEUP))
		count(REPORTED);
}

/* A socket that is followed already. Where several processes have an adopted one, its owner is the one that closes it. */
static inline void revisit(u64 sk, u64 task, struct flow *flow)
{
	if (INTERIM && flow->established && !flow->own && bpf_ktime_get_ns() - flow->reported_at >= INTERIM)
		report(sk, flow);
	if (flow->owner_source == ADOPTED && flow->owner.pid != READ(u32, task, TASK_STRUCT_tgid)) {
		__builtin_memset(&flow->owner, 0, sizeof(flow->owner));
		flow->owner_source = 0;
	}
}

/* Follow a socket that is open already. */
static inline void adopt(u64 sk, u64 task)
{
	struct flow flow = { .owner_source = ADOPTED, .handshake = UNKNOWN_TIME, .ours = 1 };
	int state = READ(u8, sk, SOCK_COMMON_skc_state);

	if (state == TCP_LISTEN || state == TCP_CLOSE)	/* one that is bound only may be listened to by another process */
		listens(sk);
	if (state == TCP_SYN_SENT)
		flow.role = CLIENT;
	else if (is_open(state))
		found_open(&flow, state);
	else
		return;
	read_owner_of(task, &flow.owner);
	if (!flows.insert(&sk, &flow) && flow.established)
		count(OPENED);
}

/*
 * Run once when the tracepoints are attached, so that a session is either seen to begin or found here; and where there
 * are interim reports, again and again.
 */
BPF_ITER(task_file)
{
	u64 task = (u64)ctx->task, file = (u64)ctx->file, inode, socket, sk;
	struct flow *flow;

	begin();
	/* By the agent's process, which is known from now on, all processes are scanned */
	if (!is_ours() || !task || !file || !is_one_of_ours(READ(u32, task, TASK_STRUCT_tgid)))
		return 0;
	keep_executable_of_scanned(task);
	inode = READ(u64, file, FILE_f_inode);
	if ((READ(u16, inode, INODE_i_mode) & S_IFMT) != S_IFSOCK)
		return 0;
	socket = READ(u64, file, FILE_private_data);
	sk = socket ? READ(u64, socket, SOCKET_sk) : 0;
	if (!sk || !is_inet(READ(u16, sk, SOCK_COMMON_skc_family)))
		return 0;
	if (READ(u16, sk, SOCK_sk_protocol) == IPPROTO_MPTCP)
		sk = first_subflow(sk);
	if (!sk || READ(u16, sk, SOCK_sk_protocol) != IPPROTO_TCP)
		return 0;
	flow = flows.lookup(&sk);
	if (flow)
		revisit(sk, task, flow);
	else
		adopt(sk, task);
	return 0;
}
