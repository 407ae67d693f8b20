/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only) */
/* The addresses and ports of a socket. */

static inline bool is_ipv4(u64 sk)
{
	return READ(sk, SOCK_COMMON_skc_family) == AF_INET;
}

/* In its form as an IPv6 address, into bytes that are zero. */
static inline void map_ipv4(u8 *to, u32 address)
{
	to[10] = to[11] = 0xff;
	__builtin_memcpy(to + 12, &address, sizeof(address));
}

static inline void read_local_address(u64 sk, u8 *address)
{
	if (is_ipv4(sk))
		map_ipv4(address, READ(sk, SOCK_COMMON_skc_rcv_saddr));
	else
		READ_INTO(address, 16, sk, SOCK_COMMON_skc_v6_rcv_saddr);
}

static inline void read_peer_address(u64 sk, u8 *address)
{
	if (is_ipv4(sk))
		map_ipv4(address, READ(sk, SOCK_COMMON_skc_daddr));
	else
		READ_INTO(address, 16, sk, SOCK_COMMON_skc_v6_daddr);
}

/* Both addresses go to bytes that are zero. */
static inline void read_endpoints(u64 sk, struct endpoints *ends)
{
	read_local_address(sk, ends->local_address);
	read_peer_address(sk, ends->peer_address);
	/* skc_num is already 0 at CLOSE, inet_sport is not */
	ends->local_port = htons(READ(sk, INET_SOCK_inet_sport));
	ends->peer_port = htons(READ(sk, SOCK_COMMON_skc_dport));
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

/* 127.0.0.0/8 or ::1 */
static inline bool is_loopback(const u8 *address)
{
	u64 high, low;

	if (ip_version(address) == 4)
		return address[12] == 127;
	__builtin_memcpy(&high, address, 8);
	__builtin_memcpy(&low, address + 8, 8);
	return !high && low == __builtin_bswap64(1);
}
