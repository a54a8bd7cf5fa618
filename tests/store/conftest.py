from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sqlalchemy import create_engine, make_url, text
from typer.testing import CliRunner, Result

from fakes import FakeModel, blobs
from samadapt.cli import app, common
from samadapt.store.projects import Project

POSTGRES = "SAMADAPT_TEST_POSTGRES"
"""Environment variable with the URL of a PostgreSQL database in which tests may make schemas."""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    """Run `samadapt` with a tiny model and a cache of its own."""
    monkeypatch.delenv("SAMADAPT_DEBUG", raising=False)
    monkeypatch.setenv("SAMADAPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(common, "load_model", lambda name, device, dtype: FakeModel())
    return lambda *arguments: CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with three pictures of 40 x 56 pixels, with names that need care."""
    place = tmp_path / "my images"
    (place / "sub").mkdir(parents=True)
    for name in ("img2.png", "img10.png", "sub/it's “ünï”.png"):
        Image.fromarray(blobs()).save(place / name)
    return place


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty place for a database, once a file and once a server."""
    if request.param == "postgresql":
        server = os.environ.get(POSTGRES, "")
        if not server:
            pytest.skip(f"no PostgreSQL server: set {POSTGRES} to the URL of an empty database")
        return _emptied(server)
    return str(tmp_path / "project.sqlite")


@pytest.fixture
def project(where: str, folder: Path) -> Iterator[Project]:
    """A project of the three pictures, once in a file and once on a server."""
    with Project.open(where) as opened:
        opened.images.scan(folder)
        yield opened


@pytest.fixture
def square() -> NDArray[np.bool_]:
    """A mask (40, 56) of the green square, with a hole and a second part."""
    mask = np.zeros((40, 56), np.bool_)
    mask[22:36, 30:46] = True
    mask[26:29, 33:37] = False
    mask[2:4, 2:5] = True
    return mask


def _emptied(server: str) -> str:
    """URL of an empty schema, one for each process of tests."""
    schema = f"samadapt_{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}"
    engine = create_engine(make_url(server).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection, connection.begin():
        connection.execute(text(f"DROP SCHEMA IF EXISTS {schema} CASCADE"))
        connection.execute(text(f"CREATE SCHEMA {schema}"))
    engine.dispose()
    url = make_url(server).update_query_dict({"options": f"-csearch_path={schema}"})
    return url.render_as_string(hide_password=False)
