/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only) */
/*
 * Whose sessions are traced. Of scope host, everybody's; of scope process, those of the tracer, the process whose program
 * this is, and of what it forks while that runs the same program.
 */

/* A process: its number may become another's, which began at another time. */
struct tracer {
	u64 began;
	u32 tgid;
	u32 first_scan;
};

/*
 * The tracer, all zero until it has begun. Written by the first scan that finds it so, which runs in the tracer; and by user
 * space, which makes it so before the scan of the next tracer of a program that stays in the kernel.
 */
BPF_ARRAY(tracer, struct tracer, 1);

static inline u64 running_leader(void)
{
	return READ(current_task(), TASK_STRUCT_group_leader);
}

static inline bool is_tracer(void)
{
	u32 only = 0;
	struct tracer *known = tracer.lookup(&only);

	return known && known->tgid == bpf_get_current_pid_tgid() >> 32 &&
	       known->began == READ(running_leader(), TASK_STRUCT_start_time);
}

static inline void note_tracer(u32 scan)
{
	u32 only = 0;
	struct tracer *known = tracer.lookup(&only);

	if (!known || known->tgid)
		return;
	known->began = READ(running_leader(), TASK_STRUCT_start_time);
	known->first_scan = scan;
	known->tgid = bpf_get_current_pid_tgid() >> 32;
}

static inline bool is_first_scan(u32 scan)
{
	u32 only = 0;
	struct tracer *known = tracer.lookup(&only);

	return known && known->first_scan == scan;
}

#if SCOPE_PROCESS
struct traced {
	u64 task;
	u32 pid; /* its number in the PID namespace of the tracer */
	u32 reserved;
};

/* How deep that namespace is: 0 for the host's. Written by the first scan. */
BPF_ARRAY(tracer_level, u32, 1);

/*
 * The tracer and what it forked, by tgid. Written by the first scan, which runs in the tracer, and by the hooks of processes; a
 * tgid is written only while its process is being made or runs, one CPU at a time. User space reads it to know when the
 * last of them has gone, and deletes those that it finds gone: the kernel does not tell of each one.
 */
BPF_HASH(traced_tgids, u32, struct traced, TRACED_SIZE);

struct listener {
	u32 netns;
	u32 port;
};

/* Where a traced process listens. When there are too many, the one that accepted nothing for longest is forgotten. */
BPF_TABLE("lru_hash", struct listener, u8, listeners, LISTENERS_SIZE);

static inline bool is_traced(u32 tgid)
{
	return found(traced_tgids.lookup(&tgid));
}

static inline bool is_traced_task(void)
{
	return is_traced(bpf_get_current_pid_tgid() >> 32);
}

static inline void trace_process(u32 tgid, u64 task)
{
	struct traced traced = { .task = task };
	u32 only = 0, *level = tracer_level.lookup(&only);

	if (level)
		traced.pid = pid_at_level(task, *level);
	if (traced_tgids.update(&tgid, &traced))
		count(COUNTER_UNTRACED);
}

/*
 * What the tracer forked before it says that tracing has begun traces itself, and what it forks from then on does not.
 * Both are sure of that, as it holds its forks off meanwhile.
 */
static inline void begin_tracing(u32 scan)
{
	u32 tgid = bpf_get_current_pid_tgid() >> 32, only = 0, *level = tracer_level.lookup(&only);

	note_tracer(scan);
	if (level && !is_traced(tgid) && is_tracer()) {
		*level = pid_level(running_leader());
		trace_process(tgid, running_leader());
	}
}

static inline void trace_fork(u32 child, u64 task)
{
	if (is_traced_task())
		trace_process(child, task);
	else
		traced_tgids.delete(&child); /* its number may have been that of one that was traced */
}

/* Another program is traced by a tracer of its own, or not at all; so is what the tracer becomes. */
static inline void stop_tracing_program(u32 tgid)
{
	traced_tgids.delete(&tgid);
}

/* A process has closed its descriptors, and was waited for. Its number may already be another's. */
RAW_TRACEPOINT_PROBE(sched_process_free)
{
	u64 task = ctx->args[0];
	u32 tgid = tgid_of(task);
	struct traced *known = traced_tgids.lookup(&tgid);

	if (known && known->task == task)
		traced_tgids.delete(&tgid);
	return 0;
}

static inline void note_listener(u64 sk)
{
	struct listener here = { .netns = netns(sk), .port = READ(sk, SOCK_COMMON_skc_num) };
	u8 yes = 1;

	listeners.update(&here, &yes);
}

/* The socket that a listener makes has its port. */
static inline bool has_traced_listener(u64 sk)
{
	struct listener here = { .netns = netns(sk), .port = READ(sk, SOCK_COMMON_skc_num) };

	return found(listeners.lookup(&here));
}
#else
#define is_traced(tgid) true
#define is_traced_task() true
#define begin_tracing(scan) note_tracer(scan)
#define trace_fork(child, task) do { } while (0)
#define stop_tracing_program(tgid) do { } while (0)
#define note_listener(sk) do { } while (0)
#define has_traced_listener(sk) true
#endif
