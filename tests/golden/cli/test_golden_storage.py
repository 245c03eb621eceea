"""Text and JSON of storage and networks, typed from the reference's pages."""

from __future__ import annotations

from dataclasses import replace

from daos.cli.network_text import scan_json
from daos.cli.network_text import scan_text as network_text
from daos.cli.storage_text import (
    Device,
    Mount,
    Part,
    devices_text,
    pools_text,
    response,
    roles_text,
    scan_text,
    scan_verbose_text,
    storage_json,
    usage_text,
)
from daos.control.fabric import Fabric, Interface, NetClass

UUID = "8a05bf3a-a088-4a77-bb9f-df989fce7cc8"
OTHER = "5bd91603-d3c7-4fb7-9a71-76bc25690c19"
MOUNT = Mount(
    path="/mnt/daos0",
    kind="ram",
    uuid=UUID,
    device="8:1",
    total=3200000000000,
    free=800000000000,
    usable=700000000000,
    rank=0,
)
DEVICE = Device(
    uuid=UUID,
    rank=0,
    targets=(0, 1),
    roles=7,
    total=3200000000000,
    free=800000000000,
    usable=800000000000,
    cluster=4096,
    led="OFF",
    system=True,
    address="0000:8a:00.0",
)


def test_scan() -> None:
    hosts = {"wolf-118": [MOUNT, replace(MOUNT, rank=1)], "wolf-119": []}
    assert (
        scan_text(hosts)
        == """\
Hosts    SCM Total             NVMe Total
-----    ---------             ----------
wolf-118 6.4 TB (2 namespaces) 0 B (0 controllers)
wolf-119 0 B (0 namespaces)    0 B (0 controllers)
"""
    )
    assert "3.2 TB (1 namespace) " in scan_text({"h": [MOUNT]})


def test_scan_verbose() -> None:
    assert (
        scan_verbose_text("wolf-118", [MOUNT], 2048)
        == """\
--------
wolf-118
--------
HugePage Size: 2048 KB

SCM Namespace Socket Capacity
------------- ------ --------
/mnt/daos0    0      3.2 TB

No NVMe devices found
"""
    )


def test_usage_of_one_tier_with_every_role() -> None:
    other = replace(MOUNT, rank=1, device="8:2", free=3200000000000)
    assert (
        usage_text([("h1", other), ("h1", MOUNT)])
        == """\
Tier Roles
---- -----
T1   data,meta,wal

Rank T1-Total T1-Free T1-Usage
---- -------- ------- --------
0    3.2 TB   800 GB  75 %
1    3.2 TB   3.2 TB  0 %
"""
    )
    assert usage_text([("h1", MOUNT)], usable=True).endswith(
        """\
Rank T1-Total T1-Usable T1-Usage
---- -------- --------- --------
0    3.2 TB   700 GB    75 %
"""
    )
    text = usage_text([("h1", MOUNT), ("h1", replace(MOUNT, rank=1)), ("h2", other)])
    assert text.endswith("Ranks 0-1 share one file system.\n")


def test_roles() -> None:
    assert [roles_text(bits) for bits in (0, 1, 6, 7)] == [
        "none",
        "data",
        "meta,wal",
        "data,meta,wal",
    ]


def test_devices() -> None:
    plain = replace(DEVICE, uuid=OTHER, rank=1, system=False, address="", led="NA")
    assert (
        devices_text([DEVICE, plain])
        == f"""\
  Devices
    UUID:{UUID} [TrAddr:0000:8a:00.0]
      Roles:data,meta,wal SysXS Targets:[0 1] Rank:0 State:NORMAL LED:OFF
    UUID:{OTHER}
      Roles:data,meta,wal Targets:[0 1] Rank:1 State:NORMAL LED:NA
"""
    )
    assert devices_text([]) == "  No devices found\n"


def test_pools() -> None:
    parts = [Part(rank=0, targets=(0, 1), blobs=(11, 12)), Part(rank=1, targets=(0,), blobs=(13,))]
    assert (
        pools_text({UUID: parts})
        == f"""\
  Pools
    UUID:{UUID}
      Rank:0 Targets:[0 1]
      Rank:1 Targets:[0]
"""
    )
    assert "Rank:0 Targets:[0 1] Blobs:[11 12]\n" in pools_text({UUID: parts}, verbose=True)
    assert pools_text({}) == "  No pools found\n"


def test_json() -> None:
    storage = storage_json(mounts=[MOUNT])
    assert storage["scm_namespaces"] == [
        {
            "uuid": UUID,
            "blockdev": "/mnt/daos0",
            "dev": "8:1",
            "numa_node": 0,
            "size": 3200000000000,
            "mount": {
                "class": "ram",
                "device_list": [],
                "info": "",
                "path": "/mnt/daos0",
                "rank": 0,
                "total_bytes": 3200000000000,
                "avail_bytes": 800000000000,
                "usable_bytes": 700000000000,
            },
        }
    ]
    assert storage["smd_info"] is None
    assert storage["nvme_devices"] == []
    part = Part(rank=0, targets=(0, 1), blobs=(11, 12))
    smd = storage_json(devices=[DEVICE], pools={OTHER: [part]})["smd_info"]
    assert smd == {
        "devices": [
            {
                "uuid": UUID,
                "tgt_ids": [0, 1],
                "rank": 0,
                "total_bytes": 3200000000000,
                "avail_bytes": 800000000000,
                "usable_bytes": 800000000000,
                "cluster_size": 4096,
                "meta_size": 0,
                "meta_wal_size": 0,
                "rdb_size": 0,
                "rdb_wal_size": 0,
                "roles": {"role_bits": 7},
                "has_sys_xs": True,
                "ctrlr": {"pci_addr": "0000:8a:00.0", "dev_state": "NORMAL", "led_state": "OFF"},
                "ctrlr_namespace_id": 0,
            }
        ],
        "pools": {OTHER: [{"rank": 0, "tgt_ids": [0, 1], "blobs": [11, 12]}]},
    }


def test_hosts_that_are_the_same_are_told_once() -> None:
    same, other = storage_json(mounts=[MOUNT]), storage_json()
    answer = response({"h1": same, "h2": other, "h3": same}, {"h4": "no route", "h5": "no route"})
    assert isinstance(answer, dict)
    assert answer["host_errors"] == {"no route": {"hosts": "h4,h5"}}
    assert sorted((each["hosts"], each["storage"]) for each in answer["HostStorage"].values()) == [
        ("h1,h3", same),
        ("h2", other),
    ]


FABRIC = Fabric(
    (
        Interface("ofi+tcp", "ib0", 0, NetClass.INFINIBAND),
        Interface("ofi+tcp", "lo", 0, NetClass.LOOPBACK),
        Interface("ofi+tcp", "eth1", 1, NetClass.ETHERNET),
    ),
    2,
    24,
)


def test_network_scan() -> None:
    assert (
        network_text({"boro-84": FABRIC, "boro-85": FABRIC, "h3": Fabric((), 1, 4)})
        == """\
---------------
boro-84,boro-85
---------------

    -------------
    NUMA Socket 0
    -------------

        Interfaces Providers
        ---------- ---------
        ib0        ofi+tcp
        lo         ofi+tcp

    -------------
    NUMA Socket 1
    -------------

        Interfaces Providers
        ---------- ---------
        eth1       ofi+tcp

--
h3
--
    No fabric interfaces found
"""
    )
    (found,) = scan_json({"h1": FABRIC}).values()
    assert isinstance(found, dict)
    assert found["HostFabric"]["NumaCount"] == 2
    assert found["HostFabric"]["Interfaces"][2] == {
        "Provider": "ofi+tcp",
        "Device": "eth1",
        "NumaNode": 1,
        "NetDevClass": 1,
    }
