"""What tcplife printed to SessionBatch, for recordings and hosts without this agent.

It is read in each form that tcplife has: CSV (-s) or the table (-w or not), with or without -t and -T, of bcc's
tcplife, libbpf's or bpftrace's. Before the line that names the columns, and between the rows, there may be other lines,
such as the command, warnings or `[...]`: they are counted as unreadable. What a log puts before each line, such as a
time, is left out, where the line that names the columns has the like.

What a recording cannot say is unknown: role, owner's source, close reason, user, round trip times, handshake; PID, COMM
and sizes where it has no such column. A size is tcplife's whole KB times 1024: what the recording says, a lower bound
(but for the SYN and the FIN, which tcplife counts as bytes). One of 2^63 bytes or more, which comes of a fault of
tcplife and which OTLP cannot hold, is unknown. The narrow table has the first 10 characters of COMM only. COMM as
`b'curl'`, the form that some versions print under Python 3, is `curl`.

Of a table, only COMM can hold spaces, so that the words of a line say what is what. Where there are too few of them, or
one is none of its column, the line is unreadable: nothing is guessed.

closed_at is as good as the time columns allow, and 0 where there are none:

- TIME is a local time without a date. The last row of a file is dated to the latest such time not after the file's
  modification time, and the rows before it by the midnights between them. In a stream each row is dated to the
  latest such time not after now, give or take a minute.
- TIME(s) places a row within the second that TIME names, and counts the days in which no session closed.
- TIME(s) alone counts from a start that the recording does not name: in a file, the last row closed at its modification
  time; in a stream, the first row closed when it was read.

Recordings in one file, each with its header, are taken to follow one another.

tcplife writes to a pipe in blocks of 8 KiB; `PYTHONUNBUFFERED=1 tcplife -s | ...` makes it write each line at once.
"""
