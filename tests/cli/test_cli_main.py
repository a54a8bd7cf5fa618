"""The command as a process: exit codes, interruptions, and what it takes to start."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from forked import Program
from samadapt.cli import app, common
from samadapt.cli.guard import CheckedCommand, GuardedGroup
from samadapt.errors import DataError
from tiny_dataset import TinyDataset

HEAVY = (
    *("torch", "transformers", "cv2", "numpy", "matplotlib", "PIL", "huggingface_hub"),
    "accelerate",
)


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120
    )


class TestStart:
    def test_help_and_the_list_of_models_import_nothing_heavy(self):
        code = (
            "import sys\n"
            "from samadapt.cli import app\n"
            "wanted = ['benchmark interactive', 'benchmark robustness', 'fit', 'annotate']\n"
            "for args in ([*words.split(), '--help'] for words in ['', *wanted]):\n"
            "    assert app(args, standalone_mode=False) == 0\n"
            "assert app(['--version'], standalone_mode=False) == 0\n"
            f"print('loaded:', *(m for m in {HEAVY} if m in sys.modules))\n"
            "from samadapt.models.registry import known_models\n"
            "known_models()\n"  # looks into the cache of the Hub
            f"print('loaded:', *(m for m in {HEAVY} if m in sys.modules))"
        )
        result = python(code)
        assert result.returncode == 0, result.stderr
        first, second = (line.split() for line in result.stdout.splitlines()[-2:])
        assert first == ["loaded:"]
        assert second in (["loaded:"], ["loaded:", "huggingface_hub"])

    def test_import_is_light_and_names_come_when_they_are_used(self):
        code = (
            "import sys, samadapt\n"
            f"print(*(m for m in {HEAVY} if m in sys.modules))\n"
            "print(set(samadapt.__all__) <= set(dir(samadapt)), samadapt.__version__)\n"
            "samadapt.Prompt; print('torch' in sys.modules, 'numpy' in sys.modules)\n"
            "missing = [n for n in samadapt.__all__ if getattr(samadapt, n, None) is None]\n"
            "print(missing, 'torch' in sys.modules)\n"
            "from samadapt import *\n"
            "print(load is samadapt.load, Session.__module__)\n"
        )
        result = python(code)
        assert result.returncode == 0, result.stderr
        assert result.stdout.splitlines() == [
            "",
            "True 0.1.0",
            "False True",
            "[] True",
            "True samadapt.session.session",
        ]

    def test_module_and_script_are_the_same(self):
        result = subprocess.run(
            [sys.executable, "-m", "samadapt", "--version"], capture_output=True, text=True
        )
        assert (result.returncode, result.stdout) == (0, "samadapt 0.1.0\n")

    def test_unknown_attribute(self):
        import samadapt

        with pytest.raises(AttributeError, match="no attribute 'nothing'"):
            _ = samadapt.nothing


class TestErrors:
    @pytest.fixture
    def failing(self, monkeypatch: pytest.MonkeyPatch, tiny: TinyDataset):
        """Arguments of a command that raises `error` in the middle."""

        def prepare(error: BaseException) -> tuple[object, ...]:
            def fail(*_: object) -> None:
                raise error

            monkeypatch.setattr(common, "load_model", fail)
            return ("predict", tiny.images / "1.png", "-p", "14,12", "-o", "m.png")

        return prepare

    def test_mistakes_are_one_line(self, run, failing):
        result = run(*failing(DataError("line one\nline two")))
        assert (result.exit_code, result.stderr) == (2, "error: line one line two\n")

    def test_unexpected_errors_say_how_to_see_more(self, run, failing):
        result = run(*failing(ZeroDivisionError("by zero")))
        assert result.exit_code == 1
        assert result.stderr == (
            "error: unexpected ZeroDivisionError: by zero; run it again with --debug for the "
            "traceback\n"
        )

    @pytest.mark.parametrize("way", ["before", "after", "variable"])
    def test_debug_shows_the_traceback(self, run, failing, way: str, monkeypatch):
        arguments = failing(ZeroDivisionError("by zero"))
        if way == "variable":
            monkeypatch.setenv("SAMADAPT_DEBUG", "1")
        else:
            arguments = ("--debug", *arguments) if way == "before" else (*arguments, "--debug")
        result = run(*arguments)
        assert result.exit_code == 1
        assert "Traceback" in result.stderr
        assert result.stderr.endswith("error: unexpected ZeroDivisionError: by zero\n")

    def test_debug_keeps_the_code_of_a_mistake(self, run, failing):
        result = run(*failing(DataError("no")), "--debug")
        assert result.exit_code == 2
        assert "Traceback" in result.stderr

    def test_ctrl_c(self, run, failing):
        result = run(*failing(KeyboardInterrupt()))
        assert (result.exit_code, result.stderr.strip()) == (130, "interrupted")

    def test_out_of_memory(self, run, failing):
        result = run(*failing(MemoryError()))
        assert result.exit_code == 1
        assert "out of memory" in result.stderr

    def test_usage(self, run):
        result = run("predct")
        assert result.exit_code == 2
        (line,) = result.stderr.splitlines()
        assert "predct" in line
        result = run("predict")
        assert result.exit_code == 2
        assert "samadapt predict --help" in result.stderr

    @pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
    def test_numbers_are_finite(self, run, number: str):
        result = run("fit", "stable", "--dataset", "none", "--out", "x", "--learning-rate", number)
        assert (result.exit_code, result.stderr) == (
            2,
            f"error: --learning-rate {number}: use a finite number\n",
        )

    def test_every_command_checks_its_numbers(self):
        group = typer.main.get_command(app)
        assert isinstance(group, GuardedGroup)
        commands = list(group.commands.values())
        for command in commands:
            if isinstance(command, TyperGroup):
                commands += command.commands.values()
        assert len(commands) > 15
        assert all(isinstance(one, CheckedCommand | TyperGroup) for one in commands)

    def test_no_arguments_is_help(self, run):
        result = run()
        assert result.exit_code == 0
        assert "predict" in result.stdout


FAKE = """
import sys, time
from samadapt.cli import common, main
from tiny_dataset import oracle
def load(*_):
    model = oracle()
    original = model.encode_pixels
    def encode(pixels):
        print("encoding", file=sys.stderr, flush=True)
        time.sleep({seconds})
        return original(pixels)
    model.encode_pixels = encode
    return model
common.load_model = load
main()
"""


TESTS = str(Path(__file__).parents[1])


class TestProcess:
    def test_a_run_from_outside(self, tiny: TinyDataset, tmp_path: Path):
        out = tmp_path / "r.json"
        strict = "import warnings\nwarnings.simplefilter('error', ResourceWarning)\n"
        result = Program(
            strict + FAKE.format(seconds=0),
            *("benchmark", "interactive", "--images", str(tiny.images)),
            *("--masks", str(tiny.masks), "--json", str(out), "--threads", "1"),
        ).ended()
        assert result.exitcode == 0, result.stderr
        assert set(result.stderr.split()) == {"encoding"}
        assert json.loads(out.read_text())["environment"]["threads"] == 1

    def test_ctrl_c_in_the_middle(self, tiny: TinyDataset, tmp_path: Path):
        process = subprocess.Popen(
            [
                *(
                    sys.executable,
                    "-c",
                    f"import sys\nsys.path.insert(0, {TESTS!r})\n" + FAKE.format(seconds=30),
                ),
                *("benchmark", "interactive", "--images", str(tiny.images)),
                *("--masks", str(tiny.masks), "--json", str(tmp_path / "r.json")),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Whoever runs the tests in the background may have made them deaf to it.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        assert process.stderr.readline() == "encoding\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 130
        assert errors.strip() == "interrupted"
        assert output == ""
        assert [p.name for p in tmp_path.iterdir()] == ["tiny"]

    def test_the_reader_goes_away(self):
        reader, writer = os.pipe()
        process = subprocess.Popen(
            [sys.executable, "-m", "samadapt", "models", "--json"],
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.close(writer)
        os.close(reader)
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (141, "")
