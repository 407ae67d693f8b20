/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only) */
/* The name of the program that a process runs, also when it exits. */

/*
 * By tgid, of processes that are about to exit: since Linux 6.16 of all of those; before, of all that may be. Written by the
 * hooks of processes and by the scan, one CPU at a time for each process.
 */
#ifdef TRACE_EVENT_RAW_SCHED_PROCESS_EXIT_group_dead
BPF_TABLE("lru_hash", u32, struct executable, executables, 1024);
#else
BPF_TABLE("lru_hash", u32, struct executable, executables, 16384);
#endif

/* The base name of a task's program; left empty where it is unknown or would have to be cut. */
static inline void read_executable(u64 task, struct executable *executable)
{
	u64 mm = READ(task, TASK_STRUCT_mm);
	u64 file = mm ? READ(mm, MM_STRUCT_exe_file) : 0;
	u64 dentry = file ? READ(file + FILE_f_path, PATH_dentry) : 0;

	if (!dentry || READ(dentry + DENTRY_d_name, QSTR_len) >= EXECUTABLE_SIZE)
		return;
	bpf_probe_read_kernel_str(executable->name, EXECUTABLE_SIZE, (void *)READ(dentry + DENTRY_d_name, QSTR_name));
}

/* A task that exits closes its descriptors when its program is no longer known: it is kept from before that. */
static inline void keep_executable(u64 task)
{
	u32 pid = tgid_of(task);
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
	u32 pid = tgid_of(task);

	if (!found(executables.lookup(&pid)))
		keep_executable(task);
}
#endif

#if SCOPE_PROCESS || !defined(TRACE_EVENT_RAW_SCHED_PROCESS_EXIT_group_dead)
RAW_TRACEPOINT_PROBE(sched_process_fork)
{
	u64 task = ctx->args[1];
	u32 parent = tgid_of(ctx->args[0]), child = tgid_of(task);

	if (parent == child)
		return 0; /* a thread */
	keep_executable_of_running(task);
	trace_fork(child, task);
	return 0;
}

RAW_TRACEPOINT_PROBE(sched_process_exec)
{
	u64 task = ctx->args[0];

	keep_executable_of_running(task);
	stop_tracing_program(tgid_of(task));
	return 0;
}
#endif

static inline void recall_executable(u64 task, struct owner *owner)
{
	struct executable *kept = executables.lookup(&owner->pid);

	if (kept && READ(task, TASK_STRUCT_flags) & PF_EXITING)
		COPY(&owner->executable, kept);
}
