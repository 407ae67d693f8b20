/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only) */
/* What the program uses of the kernel: constants, and how a member of a struct is read. */

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

#define htons(port) __builtin_bswap16(port)
#define htonl(address) __builtin_bswap32(address)

/* <STRUCT>_<member> is the offset of a member, TYPE_<STRUCT>_<member> an integer as wide as it, both from BTF. */
#define READ_INTO(to, size, base, offset) bpf_probe_read_kernel(to, size, (void *)(base) + (offset))

#define READ_BY_CALL(type, base, offset) ({				\
	type value = 0;							\
	READ_INTO(&value, sizeof(value), base, offset);			\
	value;								\
})

/* A member of what is at any address; 0 where that is not mapped. */
#define READ_AT(base, member) READ_BY_CALL(TYPE_##member, base, member)

#if TYPED_POINTERS
/*
 * The verifier knows of which struct the arguments of a tracepoint are, and what their members point to, and lets a program
 * load a member from there. Where the address is not mapped, the kernel makes that 0, as the call above does.
 *
 * READ() is for pointers that come from these, READ_AT() for all others, such as one that is computed.
 */
#define READ(base, member) (*(volatile TYPE_##member *)((base) + (member)))

/* The running task, and the socket where it is one of TCP, 0 where it is not; both as what they are for the verifier. */
static u64 (*current_task)(void) = (void *)HELPER_get_current_task_btf;
static u64 (*tcp_sock_of)(u64 sk) = (void *)HELPER_skc_to_tcp_sock;
#else
#define READ(base, member) READ_BY_CALL(TYPE_##member, base, member)

#define current_task() bpf_get_current_task()

static inline u64 tcp_sock_of(u64 sk)
{
	return READ(sk, SOCK_sk_protocol) == IPPROTO_TCP ? sk : 0;
}
#endif

/*
 * Copy a struct. By an assignment, the compiler would read most of it before it writes, and keep that on the stack, which
 * has no more than 512 bytes for a whole program.
 */
#define COPY(to, from) bpf_probe_read_kernel(to, sizeof(*(to)), from)

/*
 * Whether a lookup has found something. Without the barrier, Clang 19 computes with the pointer before it compares it with
 * NULL, which the verifier does not allow.
 */
static inline bool found(const void *value)
{
	u64 is_found = value != NULL;

	asm volatile("" : "+r"(is_found));
	return is_found;
}

static inline u32 netns(u64 sk)
{
	return READ(READ(sk, SOCK_COMMON_skc_net) + NET_ns, NS_COMMON_inum);
}

static inline u32 tgid_of(u64 task)
{
	return READ(task, TASK_STRUCT_tgid);
}

#define UPID_SIZE (UPID_ns + sizeof(void *)) /* include/linux/pid.h: the pointer is its last member */

/* How deep the PID namespace of a task is: 0 for the host's. */
static inline u32 pid_level(u64 task)
{
	u64 pid = READ(task, TASK_STRUCT_thread_pid);

	return pid ? READ(pid, PID_level) : 0;
}

/* The number of a task in its PID namespace, or in one above that, which is so deep. */
static inline u32 pid_at_level(u64 task, u32 level)
{
	return READ_AT(READ(task, TASK_STRUCT_thread_pid) + PID_numbers + level * UPID_SIZE, UPID_nr);
}
