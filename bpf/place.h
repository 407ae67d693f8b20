/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only) */
/* Where a socket lives: its network namespace and its cgroup. */

struct cgroup_path {
	char text[CGROUP_PATH_SIZE];
};

/* By id, of the cgroups that were made while tracing: written once for each, when it is made. */
BPF_TABLE("lru_hash", u64, struct cgroup_path, cgroup_paths, 4096);

static inline u64 cgroup_id(u64 cgroup)
{
	u64 node = cgroup ? READ(cgroup, CGROUP_kn) : 0;

	return node ? READ(node, KERNFS_NODE_id) : 0;
}

/* The cgroup (v2) of a socket. Before Linux 5.15 its place holds other things instead where one of two bits is set. */
static inline u64 cgroup_of(u64 sk)
{
	u64 cgroup = 0;

#if defined(SOCK_CGROUP_DATA_cgroup)
	cgroup = READ(sk + SOCK_sk_cgrp_data, SOCK_CGROUP_DATA_cgroup);
#elif defined(SOCK_CGROUP_DATA_val)
	cgroup = READ(sk + SOCK_sk_cgrp_data, SOCK_CGROUP_DATA_val);
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
