"""Which address a pod's port is dialled at."""

from __future__ import annotations

import asyncio
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.kubelet.runtimes.listeners import choose, find, parse_table

TABLE = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1 0 100 0 0 10 0
   1: 0110107F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12 1 0 100 0 0 10 0
   2: 00000000:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 13 1 0 100 0 0 10 0
   3: 0100007F:1F90 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 14 1 0 100 0 0 10 0
"""
TABLE_6 = """  sl  local_address                         remote_address                        st tx_queue rx_queue
   0: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 21 1 0 100 0 0 10 0
   1: 0000000000000000FFFF00000100007F:1F90 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 22 1 0 100 0 0 10 0
"""


def test_the_kernels_tables_are_read() -> None:
    assert list(parse_table(TABLE, 8080)) == [("127.0.0.1", "11"), ("127.16.16.1", "12")]
    assert list(parse_table(TABLE, 8081)) == [("0.0.0.0", "13")]
    assert list(parse_table(TABLE_6, 8080)) == [("::1", "21"), ("127.0.0.1", "22")]


@pytest.mark.parametrize(
    ("listening", "expected"),
    [
        ([("127.0.0.1", "own"), ("10.0.0.1", "any")], "10.0.0.1"),
        ([("127.0.0.1", "own"), ("0.0.0.0", "own")], "10.0.0.1"),
        ([("::", "own")], "10.0.0.1"),
        ([("::1", "own"), ("127.0.0.1", "own")], "127.0.0.1"),
        ([("::1", "own")], "::1"),
    ],
)
def test_the_pods_own_address_comes_before_loopback(listening: list[tuple[str, str]], expected: str) -> None:
    assert choose("10.0.0.1", listening, {"own"}) == expected


ADDRESSES = st.sampled_from(["127.0.0.1", "0.0.0.0", "::", "::1", "10.0.0.2", "192.168.0.1"])


@given(st.lists(st.tuples(ADDRESSES, st.sampled_from(["other", "another"]))))
def test_another_pods_port_is_never_dialled(listening: list[tuple[str, str]]) -> None:
    with pytest.raises(ConnectionRefusedError):
        choose("10.0.0.1", listening, {"own"})


async def test_a_real_socket_is_found_by_its_process_and_by_no_other() -> None:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        assert find("127.5.5.5", port, [os.getpid()]) == "127.0.0.1"
        with pytest.raises(ConnectionRefusedError):
            find("127.5.5.5", port, [1])
    finally:
        server.close()
