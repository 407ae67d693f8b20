"""What error.type can say, for README: the errnos that Linux ends a TCP socket with, and why it does so.

From net/ipv4/tcp_input.c (tcp_reset), tcp_timer.c (tcp_write_err), tcp.c (tcp_abort), tcp_ipv4.c (tcp_v4_err) and
icmp.c (icmp_err_convert); net/ipv6/tcp_ipv6.c (tcp_v6_err) and icmp.c (icmpv6_err_convert); net/mptcp/subflow.c;
net/tls/tls_sw.c. What ICMP said ends a connect, or a session whose packets nobody acknowledged (sk_err_soft), or stays
on a socket that asks for such errors (IP_RECVERR).
"""

from __future__ import annotations

from collections.abc import Mapping

from otel_tcplife.session_columns import OTHER_ERROR

ERROR_TYPES: Mapping[str, str] = {
    "ECONNREFUSED": "a connect was answered by a reset, or by ICMP: nobody listens on the port",
    "ECONNRESET": "the peer sent a reset; or this end did, as data came that nobody could receive any more",
    "EPIPE": "the peer sent a reset after its FIN",
    "ETIMEDOUT": "nothing was acknowledged until the kernel gave up: SYNs, data, keepalive probes",
    "ECONNABORTED": "somebody else on this host ended it, such as `ss -K`",
    "EHOSTUNREACH": "ICMP: the host cannot be reached, does not answer ARP, or is closed off; or too many hops",
    "ENETUNREACH": "ICMP: no route to the network, or the network is closed off",
    "EACCES": "ICMPv6: prohibited by a filter or a policy",
    "ENOPROTOOPT": "ICMP: the host does not have TCP",
    "EHOSTDOWN": "ICMP: the host is not known",
    "ENONET": "ICMP: the host is isolated",
    "ENOTSUP": "ICMP: the source route failed (EOPNOTSUPP has the same number)",
    "EPROTO": "ICMP: an error in the header of a packet",
    "EBADMSG": "what came is no TLS record (kernel TLS), or breaks Multipath TCP",
    OTHER_ERROR: "a connect given up without an errno, or whose end was missed (see `infer_missed_states()` in "
    "bpf/ending.h)",
}
