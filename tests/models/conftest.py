from __future__ import annotations

from typing import Any

import pytest
from tiny_models import FAMILIES, Family


@pytest.fixture(scope="session")
def networks() -> dict[str, Any]:
    """A transformers network per family; wrap or copy it, never change it."""
    return {name: family.build() for name, family in FAMILIES.items()}


@pytest.fixture(params=sorted(FAMILIES))
def family(request: pytest.FixtureRequest) -> Family:
    return FAMILIES[request.param]


@pytest.fixture
def network(family: Family, networks: dict[str, Any]) -> Any:
    return networks[family.name]


@pytest.fixture
def model(family: Family, network: Any) -> Any:
    """Our model in float32 on the CPU."""
    return family.wrap(network)
