"""Build steps of the site: names from the package, pages from notebooks, links to the source."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

import samadapt  # noqa: E402 - the package of this checkout; importing it loads no model

log = logging.getLogger("mkdocs.hooks.samadapt")

PUBLIC_NAMES = re.compile(r"^<!-- public names of (.+?) -->$", re.MULTILINE)
COMMANDS = "<!-- command line -->"
NOTEBOOK = re.compile(r"^<!-- notebook (.+?) -->$", re.MULTILINE)
LINK = re.compile(r"\[([^\]]+)\]\((\.\./[^)#\s]+)(#[^)\s]+)?\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fill in what a page takes from elsewhere in the repository."""
    markdown = PUBLIC_NAMES.sub(lambda found: reference(found[1].split()), markdown)
    markdown = NOTEBOOK.sub(lambda found: notebook_page(ROOT / found[1]), markdown)
    if COMMANDS in markdown:
        markdown = markdown.replace(COMMANDS, command_line())
    folder = Path(page.file.abs_src_path).parent
    return LINK.sub(lambda found: repository_link(found, folder, page.file.src_uri), markdown)


def reference(modules: list[str]) -> str:
    """Return a mkdocstrings entry for every public name that is defined below these modules."""
    names = dict.fromkeys(name for module in modules for name in names_of(module))
    return "\n\n".join(f"::: samadapt.{name}" for name in names)


def names_of(module: str) -> list[str]:
    """Return the public names whose home is `module` or a module inside it."""
    homes = samadapt._HOMES.items()
    return [
        name
        for home, names in homes
        for name in names
        if home == module or home.startswith(f"{module}.")
    ]


def command_line() -> str:
    """Return a section for every command, from the texts that `--help` prints."""
    import typer

    from samadapt.cli import app

    return "\n\n".join(command_pages(typer.main.get_command(app), "samadapt"))


def command_pages(command: Any, name: str) -> Iterator[str]:
    """Yield the sections of a command, or of those in its group."""
    for child, inner in getattr(command, "commands", {}).items():
        yield from command_pages(inner, f"{name} {child}")
    if not hasattr(command, "commands"):
        rows = [
            f"| `{' '.join(option.opts)}` | {plain(option.help)} |"
            for option in command.params
            if getattr(option, "help", None) and option.name != "help"
        ]
        yield f"## `{name}`\n\n{command.help}\n\n| option | meaning |\n| --- | --- |\n" + "\n".join(
            rows
        )


def plain(text: str) -> str:
    """Return a help text as one cell of a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def notebook_page(path: Path) -> str:
    """Return the cells of a notebook as Markdown."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n\n".join(
        text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```"
        for cell in cells
        if (text := "".join(cell["source"]))
    )


def repository_link(found: re.Match[str], folder: Path, page: str) -> str:
    """Return a link out of the site as the path of the file, which stands in the repository."""
    target = (folder / found[2]).resolve()
    if target.is_relative_to(ROOT / "docs"):
        return found[0]
    if not target.exists():
        log.warning("%s links to %s, which is not in the repository", page, found[2])
    path = target.relative_to(ROOT).as_posix()
    return found[1] if found[1].strip("`") == path else f"{found[1]} (`{path}`)"
