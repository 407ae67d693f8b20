"""Addresses as text: as inet_ntop(3) has them, whatever others are in the same column."""

from __future__ import annotations

from socket import AF_INET, AF_INET6, inet_ntop

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from otel_tcplife.addresses import MAPPED, addresses, hosts

_OCTETS = st.sampled_from([0, 1, 9, 10, 99, 100, 127, 255]) | st.integers(0, 255)
_IPV4 = st.lists(_OCTETS, min_size=4, max_size=4).map(bytes)
_IPV6 = st.binary(min_size=16, max_size=16).filter(lambda packed: not packed.startswith(MAPPED))


def _expected(packed: bytes) -> str:
    return inet_ntop(AF_INET if len(packed) == 4 else AF_INET6, packed)


@given(column=st.lists(_IPV4) | st.lists(_IPV4 | _IPV6))
def test_each_address_is_the_text_that_it_is_known_by(column: list[bytes]) -> None:
    rows = [packed if len(packed) == 16 else MAPPED + packed for packed in column]
    found = addresses(np.frombuffer(b"".join(rows), np.uint8).reshape(-1, 16))
    assert found.to_list() == [_expected(packed) for packed in column]
    assert len(found.texts) == len(set(column))
    in_urls = [f"[{_expected(packed)}]" if len(packed) == 16 else _expected(packed) for packed in column]
    assert hosts(found).to_list() == in_urls
