"""What tcplife printed as batches of sessions, for recordings and for hosts without this package.

Each form that tcplife has is read: CSV (-s) or the table (-w or not), with or without -t and -T, of bcc's tcplife,
libbpf's or bpftrace's. Before the header, which names the columns, and between the rows there may be other lines, such
as the command, warnings or `[...]`: they are counted as unreadable. Where a log adds words before each line, such as a
time, they are skipped if the header has the same.

What a recording does not contain is unknown: role, owner's source, close reason, user, round trip times, handshake;
PID, COMM and sizes where there is no such column. A size is tcplife's whole KB times 1024: a lower bound (except that
tcplife counts the SYN and the FIN as bytes). A size of 2^63 bytes or more comes from a fault of tcplife, and OTLP
cannot hold it: it is unknown. The narrow table has only the first 10 characters of COMM. Some versions print COMM as
`b'curl'` under Python 3: that is `curl`.

In a table, only COMM can hold spaces, so the words of a line determine its cells. A line with too few words, or with
one that cannot belong to its column, is unreadable: nothing is guessed.

closed_at is as exact as the time columns allow, and 0 where there are none:

- TIME is a local time without a date. The last row of a file is dated to the latest such time not after the file's
  modification time, and the rows before it by the midnights between them. In a stream each row is dated to the
  latest such time that is at most a minute after now.
- TIME(s) places a row within the second that TIME names, and counts the days in which no session closed.
- TIME(s) alone counts from a start that the recording does not name: in a file, the last row closed at its modification
  time; in a stream, the first row closed when it was read.

Several recordings in one file, each with its header, are assumed to follow one another.

tcplife writes to a pipe in blocks of 8 KiB; `PYTHONUNBUFFERED=1 tcplife -s | ...` makes it write each line at once.
"""
