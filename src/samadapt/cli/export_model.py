"""`samadapt export-model`: a model as ONNX."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from samadapt.cli import common
from samadapt.cli.common import AdapterOption, ModelOption


def export_model(
    out: Annotated[Path, typer.Argument(help="A folder that does not exist yet.", metavar="DIR")],
    model: ModelOption = "nano",
    adapter: AdapterOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    r"""Write a model as ONNX, with adapters merged; the folder can be given as --model.

    vision_encoder.onnx encodes images, prompt_encoder_mask_decoder.onnx answers
    prompts. Both are compared with the model before the folder appears.
    Needs the extra: pip install 'samadapt\[onnx]'.
    """
    from samadapt.adapters.registry import create_adapter
    from samadapt.exporting.export import check_packages, check_target
    from samadapt.exporting.export import export_model as export

    check_target(out)
    check_packages()
    loaded = common.load_model(model, "cpu", "float32")
    adapters = [create_adapter(spec, loaded) for spec in adapter or ()]
    exported = export(loaded, out, adapters)
    common.tell_untrained(adapter or ())
    result = {
        "out": str(exported.folder),
        "model": loaded.identity.name,
        "adapters": adapter or [],
        "files": list(exported.files),
        "largest_difference": exported.largest_difference,
    }
    what = f"{loaded.identity.name} with {', '.join(adapter)}" if adapter else loaded.identity.name
    if as_json:
        typer.echo(json.dumps(result))
    else:
        typer.echo(
            f"{out}: {', '.join(exported.files)}; same masks as {what}, largest "
            f"difference {exported.largest_difference:.1e} of the largest value"
        )
