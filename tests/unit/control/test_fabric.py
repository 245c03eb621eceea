"""Interfaces of a host, and configurations that are made for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from daos.base.errors import InvalidError
from daos.control import fabric
from daos.control.config.generate import Wanted, generate
from daos.control.config.server import parse
from daos.control.fabric import Fabric, Interface, NetClass

IB = Interface("ofi+tcp", "ib0", 0, NetClass.INFINIBAND)
ETH = Interface("ofi+tcp", "eth1", 1, NetClass.ETHERNET)
LO = Interface("ofi+tcp", "lo", 0, NetClass.LOOPBACK)


def test_what_this_host_has() -> None:
    found = fabric.scan()
    (lo,) = [each for each in found.interfaces if each.device == "lo"]
    assert lo == LO
    assert (found.numa_count >= 1, found.cores_per_numa >= 1) == (True, True)
    assert fabric.scan("all") == fabric.scan("ofi+tcp") == found
    with pytest.raises(InvalidError, match="no provider 'ofi\\+verbs'; there is ofi\\+tcp"):
        fabric.scan("ofi+verbs")


def test_what_the_kernel_says(tmp_path: Path) -> None:
    for name, node, kind in (("lo", "", "772"), ("gone0", "0", "1")):
        device = tmp_path / "class/net" / name
        (device / "device").mkdir(parents=True)
        (device / "type").write_text(f"{kind}\n")
        if node:
            (device / "device/numa_node").write_text(node)
    for name in ("node0", "node1", "possible"):
        (tmp_path / "devices/system/node" / name).mkdir(parents=True)
    found = fabric.scan(root=tmp_path)  # gone0 has no address
    assert found.interfaces == (LO,)
    assert found.numa_count == 2
    (tmp_path / "class/net/lo/device/numa_node").write_text("1\n")
    assert fabric.scan(root=tmp_path).interfaces[0].numa_node == 1
    assert fabric.scan(root=tmp_path / "none").interfaces == ()


def test_an_engine_for_each_numa_node() -> None:
    eth0 = ETH._replace(device="eth0", numa_node=0)
    text, said = generate(Fabric((ETH, eth0, LO), 2, 24), Wanted())
    config = parse(text, file="made")
    assert [(each.fabric_iface, each.pinned_numa_node) for each in config.engines] == [
        ("eth0", 0),
        ("eth1", 1),
    ]
    assert {each.targets for each in config.engines} == {16}
    assert [str(each.storage) for each in config.engines] == ["/mnt/daos0", "/mnt/daos1"]
    assert (config.port, config.insecure, config.provider) == (10001, True, "ofi+tcp")
    assert said["mgmt_svc_replicas"] == ["localhost"]


def test_what_is_asked_for() -> None:
    small = Fabric((IB, LO), 1, 4)
    wanted = Wanted(
        engines=2,
        replicas=("h1",),
        net_class="loopback",
        metadata="/var/daos",
        ports=(20000, 21000),
    )
    config = parse(generate(small, wanted)[0], file="made")
    assert [(each.fabric_iface, each.fabric_iface_port) for each in config.engines] == [
        ("lo", 20000),
        ("lo", 21000),
    ]
    assert {(each.targets, each.pinned_numa_node) for each in config.engines} == {(1, None)}
    assert str(config.control) == "/var/daos"
    # The fastest there is, if none is named.
    assert generate(small, Wanted())[1]["engines"][0]["fabric_iface"] == "ib0"  # type: ignore[index]
    tiny = generate(Fabric((LO,), 1, 1), Wanted())[0]
    assert parse(tiny, file="made").engines[0].targets == 1


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        (Wanted(net_class="ethernet"), "no ethernet interface with provider ofi\\+tcp; there are"),
        (Wanted(net_class="token-ring"), "no class of networks 'token-ring'; there are ethernet"),
        (Wanted(provider="ofi+verbs"), "no usable interface with provider ofi\\+verbs"),
        (Wanted(ports=(1, 2)), "1 engines need 1 fabric ports, not 2: --fabric-ports 31316"),
        (Wanted(engines=2, ports=(5000, 5001)), "needs the ports 5001 to .* leave more room"),
        (Wanted(replicas=("a", "b")), "non-odd number .*: 2 .the generated configuration:2"),
        (Wanted(engines=0), "--num-engines 0: expected 1 or more"),
    ],
)
def test_what_does_not_go(wanted: Wanted, text: str) -> None:
    with pytest.raises(Exception, match=text) as caught:
        generate(Fabric((IB, LO), 1, 4), wanted)
    assert type(caught.value).__name__ in ("InvalidError", "FaultError")
