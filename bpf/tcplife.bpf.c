/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only) */
/*
 * Follow each TCP socket from its handshake to CLOSE and hand one record for each session to user space.
 *
 * state		changes by	in the flow				counters
 * SYN_SENT	connect(2)	made; started_at, owner (connect)
 * SYN_RECV	SYN-ACK sent	made; started_at
 * ESTABLISHED	ACK, SYN-ACK	established_at, handshake		OPENED
 * FIN_WAIT1	close, shutdown	sent_fin, first_fin, owner (close)
 * CLOSE_WAIT	FIN received	first_fin
 * LAST_ACK	close, shutdown	sent_fin, owner (close)
 * CLOSE		any of these	deleted; owner (close) within close(2)	CLOSED, SEEN, and one of SUBMITTED, FILTERED,
 *								RING_FULL; or none yet where the owner is awaited
 * (destroyed)	last reference	owner of one that was awaited		one of these
 *
 * A socket for which there was no room, or that was open before tracing began and that no process had, ends as MAP_FULL or
 * NOT_FOLLOWED. A state change that the kernel kept from the program is inferred from the next one (MISSED).
 *
 * bcc compiles this without kernel headers. otel_tcplife/probe/program.py puts each file in the place where it is
 * included, as bcc rewrites accesses to maps in the main file only, and writes before it, as macros:
 *   <STRUCT>_<member>	the byte offset of each kernel struct member that is named here, from BTF
 *   TYPE_<STRUCT>_<member>	an integer as wide as it
 *   TYPED_POINTERS	whether it has these, see kernel.h; the scan has none
 *   HELPER_*		numbers of the kernel's functions that it calls then
 *   EVENT_*, ROLE_*, OWNER_SOURCE_*, CLOSE_REASON_*, COUNTER_*, UNKNOWN*	as user space has them
 *   SELECT_*		the filters, as expressions, each by the name of its option (see otel_tcplife/options.py)
 *   SCOPE_PROCESS	whether only the sessions of the tracer, and of those that it forks, are followed
 *   HIDE_TRACER	whether the connections of the tracer are left out
 *   CONNECTS_ANNOUNCED	whether the application says something of its connections, see connecting.h
 *   INTERIM, TRACE_CONTEXT	the options of these names, the first one in ns
 *   FLOWS_BEFORE	whether there are flows of a program that this one has replaced, in a map of another size
 *   WAKEUP_EVERY	the records of a CPU after which it wakes who reads the ring, a power of two
 *   RING_BYTES, MAX_*, *_SIZE, ...	the sizes of the maps
 * and after it one assertion for each field of struct session, from the NumPy dtype of otel_tcplife/session.py.
 */

#include "kernel.h"
#include "session.h"
#include "counters.h"
#include "scope.h"
#include "executable.h"
#include "owner.h"
#include "place.h"
#include "endpoints.h"
#include "flow.h"
#include "connecting.h"
#include "outcome.h"
#include "emit.h"
#include "handshake.h"
#include "ending.h"
#include "scan.h"

RAW_TRACEPOINT_PROBE(inet_sock_set_state)
{
	u64 any = ctx->args[0], sk = tcp_sock_of(any);
	int old_state = ctx->args[1], state = ctx->args[2];

	if (!sk) {
		if (READ(any, SOCK_sk_protocol) == IPPROTO_MPTCP)
			mptcp_changes(any, old_state, state);
		return 0;
	}

	switch (state) {
	case TCP_LISTEN:
		listening(sk);
		break;
	case TCP_SYN_SENT:
		syn_sent(sk);
		break;
	case TCP_SYN_RECV:
		syn_received(sk, old_state);
		break;
	case TCP_ESTABLISHED:
		established(sk);
		break;
	case TCP_FIN_WAIT1:
	case TCP_LAST_ACK:
		fin_sent(sk, old_state, state);
		break;
	case TCP_CLOSE_WAIT:
		fin_received(sk);
		break;
	case TCP_CLOSE:
		closed(sk, old_state);
		break;
	}
	return 0;
}

RAW_TRACEPOINT_PROBE(tcp_destroy_sock)
{
	u64 sk = tcp_sock_of(ctx->args[0]);

	if (sk)
		destroyed(sk);
	return 0;
}

/* A container may be gone when its last session is read: its cgroup's path is kept from when it was made. */
RAW_TRACEPOINT_PROBE(cgroup_mkdir)
{
	u64 cgroup = ctx->args[0], id = cgroup_id(cgroup);
	struct cgroup_path path = {};

	if (READ(READ(cgroup, CGROUP_root), CGROUP_ROOT_hierarchy_id) != 0)
		return 0; /* of cgroup v1, where sockets are not */
	bpf_probe_read_kernel_str(path.text, sizeof(path.text), (void *)ctx->args[1]);
	cgroup_paths.update(&id, &path);
	return 0;
}

/*
 * Run once when the tracepoints are attached, so that a session is either seen to begin or found here; and then before each
 * export of metrics, and for interim reports.
 */
BPF_ITER(task_file)
{
	u64 task = (u64)ctx->task, file = (u64)ctx->file, inode, socket, sk;
	struct flow *flow;

	begin_tracing(ctx->meta->session_id);
	/* The tracer, which is known from now on, scans all processes; so does later who reads what is found, for it */
	if (!task || !file || !is_traced(tgid_of(task)))
		return 0;
	keep_executable_of_scanned(task);
	inode = READ(file, FILE_f_inode);
	if ((READ(inode, INODE_i_mode) & S_IFMT) != S_IFSOCK)
		return 0;
	socket = READ(file, FILE_private_data);
	sk = socket ? READ(socket, SOCKET_sk) : 0;
	if (!sk || !is_inet(READ(sk, SOCK_COMMON_skc_family)))
		return 0;
	if (READ(sk, SOCK_sk_protocol) == IPPROTO_MPTCP)
		sk = first_subflow(sk);
	if (!sk || READ(sk, SOCK_sk_protocol) != IPPROTO_TCP)
		return 0;
	flow = flow_of(sk);
	if (flow)
		revisit(sk, task, flow, ctx->meta);
	else
		adopt(sk, task);
	return 0;
}
