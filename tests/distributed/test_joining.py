"""Processes that train together find each other, or say in one line why they can't."""

import socket

import pytest

from vcjax.core.errors import UserError
from vcjax.parallel import check_host_name


def test_a_host_whose_name_has_no_address_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    # `.invalid` is reserved (RFC 2606): no resolver has an address for it.
    monkeypatch.setattr(socket, "gethostname", lambda: "trainer.invalid")
    with pytest.raises(UserError, match=r"'trainer\.invalid', has no address.*/etc/hosts"):
        check_host_name()


def test_a_host_with_an_address_may_join() -> None:
    check_host_name()
