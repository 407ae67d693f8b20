/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only) */
/*
 * The loss balance: what became of each session that was seen to end. The numbers of the counters, COUNTER_*, are those
 * of otel_tcplife/probe/counters.py, which says what each counts.
 */

/* One for each CPU, so wide that CPUs share no cache line, nor a pair fetched together. */
struct counters {
	u64 values[COUNTERS_OF_A_CPU];
};

/* Written by all hooks, each on the row of its CPU, by atomic additions; user space reads it through a mapping. */
BPF_F_TABLE("array", u32, struct counters, counters, CPUS, BPF_F_MMAPABLE);

static inline void count(u32 which)
{
	u32 cpu = bpf_get_smp_processor_id();
	struct counters *counter = counters.lookup(&cpu);

	if (counter)
		__sync_fetch_and_add(&counter->values[which], 1);
}

/* A session came to an end of which nothing can be reported, for this reason. */
static inline void count_lost(u32 reason)
{
	count(COUNTER_SEEN);
	count(reason);
}
