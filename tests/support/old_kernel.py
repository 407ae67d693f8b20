"""The BTF of this kernel as an older one would have it, so that the program takes the ways that it takes there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from otel_tcplife.probe.btf import KERNEL_BTF, Btf, Member

Name = tuple[str, str]


class OlderBtf(Btf):
    """Without some members, and with others that are called differently."""

    def __init__(self, *, without: Iterable[Name] = (), renamed: Mapping[Name, Name] = {}) -> None:
        """`renamed` has the new name of a member by the older one."""
        super().__init__(KERNEL_BTF.read_bytes())
        self._without = {*without, *renamed.values()}
        self._renamed = renamed

    def members(self, wanted: Mapping[str, Iterable[str]]) -> dict[Name, Member]:
        """As there."""
        found: dict[Name, Member] = {}
        for struct, members in wanted.items():
            for member in members:
                asked = struct, member
                now = (struct, "missing") if asked in self._without else self._renamed.get(asked, asked)
                found[asked] = super().members({now[0]: [now[1]]})[now]
        return found
