"""The table of error numbers. (Its contents: tests/golden/base.)"""

from __future__ import annotations

import errno
import pickle

from daos.base.der import DER, der_from_number, der_to_errno, errno_to_der


def test_text_has_the_negative_number() -> None:
    assert str(DER.NONEXIST) == "DER_NONEXIST(-1005)"
    assert f"{DER.UNKNOWN}" == "DER_UNKNOWN(-501000)"


def test_every_member_is_described() -> None:
    assert all(member.description for member in DER)
    assert len({member.description for member in DER}) == len(DER) - 1  # two "canceled"


def test_number_of_either_sign() -> None:
    assert der_from_number(1005) is DER.NONEXIST
    assert der_from_number(-1005) is DER.NONEXIST
    assert der_from_number(0) is DER.SUCCESS
    assert der_from_number(1) is DER.UNKNOWN
    assert der_from_number(2**70) is DER.UNKNOWN


def test_from_errno() -> None:
    assert errno_to_der(errno.EPERM) is DER.NO_PERM
    assert errno_to_der(errno.EACCES) is DER.NO_PERM
    assert errno_to_der(errno.EDQUOT) is DER.NOSPACE
    assert errno_to_der(-errno.ENOSPC) is DER.NOSPACE
    assert errno_to_der(errno.EBADF) is DER.NO_HDL
    assert errno_to_der(errno.EWOULDBLOCK) is DER.AGAIN
    assert errno_to_der(errno.EXDEV) is DER.MISC
    assert errno_to_der(0) is DER.SUCCESS


def test_errno_comes_back_as_itself() -> None:
    # E2BIG stands for two codes and therefore for none on the way back.
    for code in DER:
        number = der_to_errno(code)
        if number != errno.E2BIG:
            assert der_to_errno(errno_to_der(number)) == number


def test_members_survive_pickling() -> None:
    assert pickle.loads(pickle.dumps(DER.STALE)) is DER.STALE
