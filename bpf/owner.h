/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only) */
/* The process that a session belongs to. */

/* The pid of a process in the PID namespace that is its own, which getpid(2) gives it; 0 in the host's. */
static inline u32 pid_in_own_namespace(u64 leader)
{
	u32 level = pid_level(leader);

	return level ? pid_at_level(leader, level) : 0;
}

/*
 * The process of a task. What differs between its threads is the thread group leader's, as in /proc: its name, and its
 * credentials, of which those that others see (real_cred) do not change while the kernel acts for somebody else.
 */
static inline void read_owner_of(u64 task, struct owner *owner)
{
	u64 leader = READ(task, TASK_STRUCT_group_leader);
	u64 cred = READ(leader, TASK_STRUCT_real_cred);

	owner->created_at = READ(leader, TASK_STRUCT_start_boottime);
	owner->pid = tgid_of(task);
	owner->parent_pid = tgid_of(READ(leader, TASK_STRUCT_real_parent));
	owner->vpid = pid_in_own_namespace(leader);
	owner->effective_uid = READ(cred, CRED_euid);
	owner->real_uid = READ(cred, CRED_uid);
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
	return READ(current_task(), TASK_STRUCT_flags) & PF_KTHREAD;
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
		mptcp_owners.delete(&msk); /* accepted anew, by whom is not known yet */
	} else if (state == TCP_SYN_SENT || state == TCP_FIN_WAIT1 || state == TCP_LAST_ACK) {
		if (in_kernel_thread())
			return;
		read_owner_of(current_task(), &owner);
		mptcp_owners.update(&msk, &owner);
	}
}

static inline bool read_mptcp_owner(u64 sk, struct owner *owner)
{
	u64 context, msk;
	struct owner *known;

	if (!READ(sk, TCP_SOCK_is_mptcp))
		return false;
	context = READ(sk, INET_CONNECTION_SOCK_icsk_ulp_data);
	msk = context ? READ_AT(context, MPTCP_SUBFLOW_CONTEXT_conn) : 0;
	known = mptcp_owners.lookup(&msk);
	if (!known)
		return false;
	COPY(owner, known);
	return true;
}

/* The TCP socket that a socket of Multipath TCP began with: no descriptor leads to it. */
static inline u64 first_subflow(u64 msk)
{
	return READ_AT(msk, MPTCP_SOCK_first);
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
	read_owner_of(current_task(), owner);
	return true;
}

/* Whether that process is traced. */
static inline bool is_traced_owner(const struct owner *owner)
{
	return is_traced_task() || is_traced(owner->pid);
}
