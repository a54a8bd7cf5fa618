"""The recipes of installation say what pyproject.toml and the README say."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import samadapt

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs" / "how-to" / "install.md"
CONDA_NAMES = {
    "torch": "pytorch",
    "opencv-python-headless": "py-opencv",
    "matplotlib": "matplotlib-base",
}
"""Packages that conda-forge knows under another name."""


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def recipe() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "packaging" / "recipe.yaml").read_text())
    return found


def split(requirement: str) -> tuple[str, str]:
    name, _, bound = requirement.partition(">=")
    return name.strip(), bound.strip()


def test_the_conda_recipe_needs_what_the_package_needs(
    project: dict[str, Any], recipe: dict[str, Any]
) -> None:
    wanted = dict(map(split, project["project"]["dependencies"]))
    found = dict(map(split, recipe["requirements"]["run"]))
    assert found.pop("python") == "${{ python_min }}"
    assert f">={recipe['context']['python_min']}" == project["project"]["requires-python"]
    assert found == {CONDA_NAMES.get(name, name): bound for name, bound in wanted.items()}
    host = [requirement.replace(" ", "") for requirement in recipe["requirements"]["host"]]
    assert set(project["build-system"]["requires"]) <= set(host)
    scripts = project["project"]["scripts"]
    assert recipe["build"]["python"]["entry_points"] == [f"{k} = {v}" for k, v in scripts.items()]


def test_there_is_one_version(project: dict[str, Any], recipe: dict[str, Any]) -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    version = project["project"]["version"]
    assert str(recipe["context"]["version"]) == str(citation["version"]) == version
    assert samadapt.__version__ == version


def test_the_container_is_made_by_the_command_of_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    (install,) = re.findall(r"^(python3 -m venv .*) && \S+samadapt demo$", readme, re.MULTILINE)
    text = (ROOT / "packaging" / "Containerfile").read_text()
    assert f"RUN {install}\n" in text
    assert install in GUIDE.read_text()


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_recipes_are_shell() -> None:
    blocks = re.findall(r"```sh\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert len(blocks) == 6
    for block in blocks:
        subprocess.run(["bash", "-n", "-c", block], check=True)


def test_every_extra_is_explained(project: dict[str, Any]) -> None:
    text = GUIDE.read_text()
    extras = project["project"]["optional-dependencies"]
    assert [name for name, needs in extras.items() if needs and f"`{name}`" not in text] == []
