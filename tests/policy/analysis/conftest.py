"""A small world that can be gone through from end to end, for policies whose analysis is compared with that."""

import msgspec
import pytest

from tests.policy.conftest import CONTEXT


@pytest.fixture(scope="session")
def world():
    """The context of the policies' tests, with what only the analysis asks."""
    return msgspec.structs.replace(CONTEXT, country="HU", extensions=("1xxx", "2xxx"), emergency=("105", "112"))
