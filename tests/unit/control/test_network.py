"""Addresses of interfaces, by name, or given as they are."""

from __future__ import annotations

import pytest

from daos.base.errors import InvalidError
from daos.control.network import address_of, ipv6_of, with_port

TABLE = """\
00000000000000000000000000000001 01 80 10 80       lo
fe8000000000000000fc00fffe000001 04 40 20 80     eth0
fd000000000000000000000000000002 04 40 00 82     eth0
"""


def test_by_name_ipv4_comes_first() -> None:
    assert address_of("lo") == "127.0.0.1"


@pytest.mark.parametrize("given", ["::1", "192.0.2.7", "fd00::2"])
def test_an_address_is_taken_as_it_is(given: str) -> None:
    assert address_of(given) == given


def test_an_interface_with_ipv6_alone() -> None:
    assert ipv6_of("lo", TABLE) == "::1"
    assert ipv6_of("eth0", TABLE) == "fd00::2", "not the one of its link"
    assert ipv6_of("eth1", TABLE) is None
    assert ipv6_of("lo", "") is None


def test_what_there_is_is_told() -> None:
    with pytest.raises(InvalidError, match=r"interface 'nowhere0': .*there are lo"):
        address_of("nowhere0")


def test_addresses_with_a_port() -> None:
    assert with_port("127.0.0.1", 7) == "127.0.0.1:7"
    assert with_port("::1", 7) == "[::1]:7"
