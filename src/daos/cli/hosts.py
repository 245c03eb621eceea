"""Commands that ask every host: whose answer is whose, and what of it failed.

Source: DAOS src/control/lib/control/response.go HostResponse, HostErrorsResp
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import TypeVar

from daos.base.errors import DaosError
from daos.cli.frame import Answer

M = TypeVar("M")


def apart(answers: Mapping[str, M | DaosError]) -> tuple[dict[str, M], dict[str, str]]:
    """Answers by host, and what went wrong at the others. Who is reached by a socket is here.

    Raises: the error of the only host there is
    """
    good: dict[str, M] = {}
    wrong: dict[str, str] = {}
    for address, answer in answers.items():
        host = socket.gethostname() if address.startswith("unix:") else address
        if isinstance(answer, DaosError):
            if len(answers) == 1:
                raise answer
            wrong[host] = str(answer)
        else:
            good[host] = answer
    return good, wrong


def answer_of(text: str, response: object, wrong: Mapping[str, str]) -> Answer:
    """What the hosts said, and what went wrong at others."""
    problems = tuple(f"{host}: {text}" for host, text in wrong.items())
    return Answer(text, response, problems=problems)


def errors_json(wrong: Mapping[str, str]) -> dict[str, object]:
    """`host_errors` of a response: hosts by what they said."""
    failed: dict[str, list[str]] = {}
    for host, text in wrong.items():
        failed.setdefault(text, []).append(host)
    return {text: {"hosts": ",".join(hosts)} for text, hosts in failed.items()}
