"""What the documents say exists: public names, commands, links."""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

import samadapt
from command_lines import UnknownCommandError, parse

ROOT = Path(__file__).resolve().parents[2]
SITE = sorted((ROOT / "docs").rglob("*.md"))
BESIDE = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
NOTES = sorted((ROOT / "research" / "notes").glob("*.md"))

MARKER = re.compile(r"^<!-- public names of (.+?) -->$", re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)\s]*)?\)")
SHELL = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


def named(paths: list[Path]) -> list[object]:
    return [pytest.param(path, id=path.relative_to(ROOT).as_posix()) for path in paths]


class TestReference:
    def test_every_public_name_is_on_exactly_one_page(self):
        documented: list[str] = []
        for page in (ROOT / "docs" / "reference").glob("*.md"):
            modules = " ".join(MARKER.findall(page.read_text())).split()
            documented += {
                name
                for home, names in samadapt._HOMES.items()
                for name in names
                if any(f"{home}.".startswith(f"{module}.") for module in modules)
            }
        assert sorted([*documented, "__version__"]) == sorted(samadapt.__all__)
        assert "`samadapt.__version__`" in (ROOT / "docs/reference/errors.md").read_text()

    @pytest.mark.parametrize("name", [n for n in samadapt.__all__ if n != "__version__"])
    def test_every_public_name_has_docstrings(self, name: str):
        thing = getattr(samadapt, name)
        assert inspect.getdoc(thing), f"samadapt.{name} has no docstring"
        if inspect.isclass(thing):
            without = [
                member
                for member, value in vars(thing).items()
                if not member.startswith("_")
                and (inspect.isroutine(value) or isinstance(value, property))
                and not inspect.getdoc(getattr(thing, member))
            ]
            assert not without, f"samadapt.{name} has members without a docstring"

    def test_every_method_has_a_page(self):
        from samadapt.adapters.registry import method_names

        pages = {path.stem for path in (ROOT / "docs" / "methods").glob("*.md")}
        assert {name.replace("_", "-") for name in method_names()} <= pages


class TestLinks:
    @pytest.mark.parametrize("path", named([*SITE, *BESIDE, *NOTES]))
    def test_relative_links_lead_to_a_file(self, path: Path):
        targets = [link for link in LINK.findall(path.read_text()) if "://" not in link]
        assert [link for link in targets if not (path.parent / link).exists()] == []


class TestCommands:
    @pytest.mark.parametrize("path", named([*SITE, *BESIDE]))
    def test_samadapt_takes_every_command_that_is_shown(self, path: Path):
        for command in shown_commands(path.read_text()):
            if "..." not in command:
                parse(command)

    def test_an_unknown_option_would_be_noticed(self):
        for wrong in (["annotate", "images", "--no-such-option"], ["benchmark", "none"]):
            with pytest.raises(UnknownCommandError):
                parse(wrong)

    def test_commands_are_found(self):
        text = "```sh\n# one\nA=1 .venv/bin/samadapt fit \\\n  lora --out x  # why\n```\n"
        assert list(shown_commands(text)) == [["fit", "lora", "--out", "x"]]


class TestReadme:
    def test_it_fits_on_two_screens(self):
        assert len((ROOT / "README.md").read_text().splitlines()) <= 105


def shown_commands(text: str) -> Iterator[list[str]]:
    """Yield the arguments of every call of samadapt in the shell blocks of a document."""
    for block in SHELL.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            for part in line.split("&&"):
                words = shlex.split(part, comments=True)
                for at, word in enumerate(words):
                    if Path(word).name == "samadapt" and words[at - 1] != "-m":
                        yield words[at + 1 :]
                        break
