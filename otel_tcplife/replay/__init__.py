"""tcplife's CSV (`tcplife -s`, with or without -t and -T) to SessionBatch, for recordings and hosts without this agent.

What a recording cannot say is unknown: role, owner's source, close reason, user, round trip times, handshake; PID and
COMM where it has no such column. A byte count is tcplife's whole KB times 1024: what the recording says, a lower bound
(but for the SYN and the FIN, which tcplife counts as bytes), and 0 where there is no TX_KB or RX_KB column.

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
