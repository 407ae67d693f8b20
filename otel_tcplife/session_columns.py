"""What there is to say of sessions, derived from rows: a column for each fact, for whoever exports or counts them."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

from otel_tcplife.addresses import addresses
from otel_tcplife.columns import Codes, DictionaryColumn, Flags, NumericColumn, encode, lookup
from otel_tcplife.factorize import factorize
from otel_tcplife.host import UNKNOWN_HOST, Entity, Host
from otel_tcplife.printable import printable
from otel_tcplife.session import LARGEST_INTEGER, UNKNOWN, UNKNOWN_TIME, Event, Role, SessionBatch

OTHER_ERROR = "_OTHER"
"""Value of error.type where there was a failure of no known kind (semantic conventions, error.type)."""

_IP_TEXTS = ("", "", "", "ipv4", "", "ipv6")
_ROLE_TEXTS = tuple(role.name.lower() for role in Role)


class SessionColumns:
    """What there is to say of the sessions of one batch, as columns; each is computed once, when it is asked for."""

    def __init__(self, batch: SessionBatch, host: Host = UNKNOWN_HOST, sample: float = 1.0) -> None:
        """`host` is that of the source of the batch; `sample` the share of sessions without an error that are kept."""
        self.batch = batch
        self.host = host
        self._sample = sample

    def __len__(self) -> int:
        return len(self.batch)

    @cached_property
    def sessions(self) -> Flags:
        """Which records are sessions, as opposed to connects that failed."""
        return self.batch["event"] != Event.CONNECT_FAILED

    @cached_property
    def everywhere(self) -> Flags:
        """All of them."""
        return np.ones(len(self), np.bool_)

    @cached_property
    def owned(self) -> Flags:
        """Which have a known owner."""
        return self.batch["pid"] != 0

    @cached_property
    def created(self) -> DictionaryColumn:
        """When the owner was created, in ISO 8601: UTC, to the millisecond."""
        created_at = self.batch["created_at"]
        first, codes = factorize(created_at)
        milliseconds = (created_at[first] // 10**6).astype("datetime64[ms]")
        texts: list[str] = np.datetime_as_string(milliseconds, timezone="UTC").tolist()
        return DictionaryColumn(np.where(created_at != 0, codes, -1), texts)

    @cached_property
    def user(self) -> NumericColumn:
        """Effective user id of the owner."""
        return self.number("effective_uid", self.owned & (self.batch["effective_uid"] != UNKNOWN))

    @cached_property
    def network_type(self) -> DictionaryColumn:
        """`ipv4` or `ipv6`."""
        return lookup(self.batch["ip_version"], _IP_TEXTS)

    @cached_property
    def role(self) -> DictionaryColumn:
        """`client` or `server`."""
        return lookup(self.batch["role"], _ROLE_TEXTS)

    @cached_property
    def local_address(self) -> DictionaryColumn:
        """Address of this end."""
        return addresses(self.batch["local_address"])

    @cached_property
    def peer_address(self) -> DictionaryColumn:
        """Address of the other end."""
        return addresses(self.batch["peer_address"])

    @cached_property
    def peer_network_codes(self) -> npt.NDArray[np.int16]:
        """The network of the other end, as an index of the names that the host's networks have; -1 for none."""
        return self.host.networks.codes(self.batch["peer_address"])

    @cached_property
    def peer_network(self) -> DictionaryColumn:
        """Name of that network."""
        return encode(self.peer_network_codes, self.host.networks.name)

    @cached_property
    def comm(self) -> DictionaryColumn:
        """Name of the owner's thread group leader."""
        return encode(self.batch["comm"], _name)

    @cached_property
    def executable(self) -> DictionaryColumn:
        """Base name of the owner's executable."""
        return encode(self.batch["executable"], _name)

    @cached_property
    def session_id(self) -> DictionaryColumn:
        """16 hexadecimal digits, of sessions that there are interim reports of."""
        reported = self.batch["reported"] != 0
        digits = self.batch["id"][reported].astype(">u8").tobytes().hex()
        texts = np.frombuffer(digits.encode(), "S16")
        return DictionaryColumn(np.where(reported, np.cumsum(reported) - 1, -1), texts)

    @cached_property
    def entities(self) -> tuple[Codes, Sequence[Entity]]:
        """What the sessions are of, each once, and for each session the index among these."""
        cgroups = self.batch["cgroup"]
        if len(cgroups) and (cgroups == cgroups[0]).all():  # as on a host without containers
            return np.zeros(len(cgroups), np.intp), [self.host.entity_of(int(cgroups[0]))]
        first, codes = factorize(cgroups)
        of_cgroups = [self.host.entity_of(cgroup) for cgroup in cgroups[first].tolist()]
        numbers = {entity: number for number, entity in enumerate(dict.fromkeys(of_cgroups))}
        return np.array([numbers[entity] for entity in of_cgroups], np.intp)[codes], [*numbers]

    def of_entity(self, attribute: Callable[[Entity], str]) -> DictionaryColumn:
        """What identifies the entity of each session; unknown where it is empty."""
        codes, entities = self.entities
        texts = [attribute(entity) for entity in entities]
        return DictionaryColumn(np.where(np.array([text != "" for text in texts], np.bool_)[codes], codes, -1), texts)

    @cached_property
    def error_number(self) -> npt.NDArray[np.int16]:
        """The errno that the socket ended with; 0 for none, -1 for a connect that failed without one."""
        numbers = self.batch["error"].astype(np.int16)
        numbers[(numbers == 0) & ~self.sessions] = -1
        return numbers

    @cached_property
    def error(self) -> DictionaryColumn:
        """Name of that errno, OTHER_ERROR where it has none."""
        return encode(self.error_number, _error_name)

    @cached_property
    def connect_error_number(self) -> npt.NDArray[np.int16]:
        """The same of connects that failed; 0 for sessions, whatever they ended with."""
        return np.where(self.sessions, np.int16(0), self.error_number)

    def connect_error_column(self) -> DictionaryColumn:
        """Name of that errno."""
        return encode(self.connect_error_number, _error_name)

    @property
    def sampling_ratio(self) -> NumericColumn:
        """The share of the sessions like this one that are kept, where only a sample of them is."""
        return NumericColumn(np.full(len(self), self._sample), ~self.error.present & (self._sample < 1))

    @cached_property
    def server_port(self) -> NumericColumn:
        """Port of the server's side; unknown where the sides are, or where the port is an ephemeral one."""
        role = self.batch["role"]
        port = np.where(role == Role.SERVER, self.batch["local_port"], self.batch["peer_port"])
        low, high = self.host.ephemeral_ports
        return NumericColumn(port.astype(np.uint64), (role != 0) & ((port < low) | (port > high)))

    def number(self, column: str, present: Flags | None = None) -> NumericColumn:
        """An integer column as it is; known everywhere unless said otherwise, but for what OTLP cannot say."""
        values = self.batch[column].astype(np.uint64)
        known = self.everywhere if present is None else present
        return NumericColumn(values, known if self.batch[column].itemsize < 8 else known & (values <= LARGEST_INTEGER))

    def growth(self, column: str, present: Flags | None = None) -> NumericColumn:
        """An integer column of sessions, less what an earlier scan has counted of it."""
        number = self.number(column, self.sessions if present is None else present)
        counted = self.batch[f"counted_{column}"].astype(np.uint64)
        if not counted.any():  # as of most, which were not open at a scan
            return number
        # Bytes of a session that began before tracing did may be one less than before, when its role is known
        return NumericColumn(number.values - np.minimum(counted, number.values), number.present)

    def unless_user(self, column: str) -> NumericColumn:
        """A column of user ids, where they are not the owner's effective one."""
        known, user = self.batch[column] != UNKNOWN, self.user
        return self.number(column, known & ~(user.present & (self.batch[column] == user.values)))

    def nonzero(self, column: str) -> NumericColumn:
        """A column that counts something, where there was any."""
        return self.number(column, self.batch[column] != 0)

    def seconds(self, column: str) -> NumericColumn:
        """A column of ns as seconds."""
        values = self.batch[column]
        return NumericColumn(values / 1e9, values != UNKNOWN_TIME)

    def round_trip(self, column: str) -> NumericColumn:
        """A column of us as seconds."""
        values = self.batch[column]
        return NumericColumn(values / 1e6, values != UNKNOWN)


@lru_cache(maxsize=4096)
def _name(raw: bytes) -> str | None:
    """A name that a process gave itself, which can be any bytes: the same text in bodies, attributes and the table.

    Where all of it is printable UTF-8, the text is exactly these bytes; what is not is U+FFFD (see printable.py).
    """
    return printable(raw.decode("utf-8", "replace")) if raw else None


def _error_name(number: int) -> str | None:
    if number == 0:
        return None
    return errno.errorcode.get(number, OTHER_ERROR)
