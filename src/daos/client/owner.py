"""Who runs this process, as the owner and the group of what is created: `alice@`, `staff@`.

Source: DAOS src/common/acl_principal.c, daos_acl_uid_to_principal
"""

from __future__ import annotations

import getpass
import grp
import os


def user_principal() -> str:
    """The user, by name or number."""
    try:
        return f"{getpass.getuser()}@"
    except (KeyError, OSError):  # a user id without a name
        return f"{os.getuid()}@"


def group_principal() -> str:
    """The user's group, by name or number."""
    try:
        return f"{grp.getgrgid(os.getgid()).gr_name}@"
    except KeyError:
        return f"{os.getgid()}@"
