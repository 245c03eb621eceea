"""`dmg network`, `dmg config`, `dmg server`: interfaces, a configuration for them, logs of engines.

Source: DAOS src/control/cmd/dmg/{network,auto,server}.go; features §2.1.4
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from daos.base.errors import DER, DaosError, InvalidError
from daos.cli.config_options import generated, generating
from daos.cli.controlled import with_control
from daos.cli.frame import Answer, Group, Options, command
from daos.cli.hosts import answer_of, apart, errors_json
from daos.cli.later import Later
from daos.cli.network_text import scan_json, scan_text
from daos.control.fabric import Fabric, Interface

if TYPE_CHECKING:
    from daos.control.client import ControlClient
    from daos.proto import ctl_pb2 as pb
else:
    pb = Later("daos.proto.ctl_pb2")

network = Group("network", help="Tell the interfaces of hosts.")
config = Group("config", help="Make a configuration for servers.")
server = Group("server", help="Tell servers what to log.")


@command(network, "scan")
@click.option("-p", "--provider", default="", help="Only of this one (all).")
@click.pass_obj
def scan(options: Options, provider: str) -> Answer:
    """Tell the interfaces that engines can listen at."""

    async def work(control: ControlClient) -> Answer:
        good, wrong = await _scan(control, provider)
        response = {"host_errors": errors_json(wrong), "HostFabrics": scan_json(good)}
        return answer_of(scan_text(good), response, wrong)

    return with_control(options, work)


async def _scan(control: ControlClient, provider: str) -> tuple[dict[str, Fabric], dict[str, str]]:
    request = pb.NetworkScanReq(provider=provider)
    good, wrong = apart(await control.ask_hosts("NetworkScan", request, pb.NetworkScanResp))
    return {host: _fabric(reply) for host, reply in good.items()}, wrong


def _fabric(reply: pb.NetworkScanResp) -> Fabric:
    return Fabric(
        tuple(
            Interface(each.provider, each.device, each.numanode, each.netdevclass)
            for each in reply.interfaces
        ),
        reply.numacount,
        reply.corespernuma,
    )


@command(config, "generate", "gen")
@generating
@click.pass_obj
def generate_(options: Options, /, **given: Any) -> Answer:  # noqa: ANN401 what click gives
    """Print a configuration for servers on these hosts."""

    async def work(control: ControlClient) -> Answer:
        good, wrong = await _scan(control, "")
        for host, text in wrong.items():
            raise DaosError(f"{host}: {text}", code=DER.UNREACH)
        first, *others = good
        for host in others:
            if good[host] != good[first]:
                raise InvalidError(
                    f"{first} and {host} have other interfaces or cores: a configuration is for "
                    "hosts that are alike; `dmg network scan` tells them, -l names fewer"
                )
        return generated(good[first], given)

    return with_control(options, work)


@command(server, "set-logmasks", "slm")
@click.option("-m", "--masks", help="Like ERR or ERR,mgmt=DEBUG; as configured if not given.")
@click.pass_obj
def set_logmasks(options: Options, masks: str | None) -> Answer:
    """Tell engines what to log from now on."""

    async def work(control: ControlClient) -> Answer:
        request = pb.SetLogMasksReq(masks=masks or "", reset_masks=masks is None)
        answers = await control.ask_hosts("SetEngineLogMasks", request, pb.SetLogMasksResp)
        good, wrong = apart(answers)
        for host, reply in good.items():
            if reply.errors:
                wrong[host] = "; ".join(reply.errors)
        done = ",".join(host for host in good if host not in wrong)
        text = f"Engine log-masks updated successfully on the following host(s): {done}\n"
        return answer_of(text if done else "", {"host_errors": errors_json(wrong)}, wrong)

    return with_control(options, work)
