"""Folders of Hub repositories: from the local cache if possible, else downloaded."""

from __future__ import annotations

from pathlib import Path

from samadapt.errors import ModelError, first_line
from samadapt.models.hf.files import find_weights

_SECONDS = 10.0
"""Longest wait for the Hub's first answer, so that a machine without network fails quickly."""
_SAFE = ["config.json", "model.safetensors", "model.safetensors.index.json", "model-*.safetensors"]
_PICKLED = ["config.json", "pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*"]


def fetch(repo_id: str, hint: str = "") -> Path:
    """The folder of a Hub repository, downloaded unless a complete copy is in the cache.

    A cached copy is used without asking the Hub for a newer one.

    Args:
        repo_id: "organisation/name".
        hint: appended to the message when the repository cannot be fetched.

    Raises:
        ModelError: not cached, and no network, no such repository or no permission.
    """
    return cached_folder(repo_id) or _download(repo_id, hint)


def cached_folder(repo_id: str) -> Path | None:
    """The folder of a repository in the local Hub cache, if its weights are all there."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repo_id, "config.json")
    if not isinstance(found, str):
        return None
    folder = Path(found).parent
    return folder if find_weights(folder) else None


def _download(repo_id: str, hint: str) -> Path:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    try:
        info = HfApi().model_info(repo_id, timeout=_SECONDS)
        names = {file.rfilename for file in info.siblings or ()}
        safe = any(name.endswith(".safetensors") for name in names)
        patterns = _SAFE if safe else _PICKLED
        return Path(snapshot_download(repo_id, revision=info.sha, allow_patterns=patterns))
    except GatedRepoError:
        raise ModelError(
            f"{repo_id} is behind a licence: accept it on https://huggingface.co/{repo_id}, then "
            "run `hf auth login` on this machine"
        ) from None
    except RepositoryNotFoundError:
        raise ModelError(
            f"{repo_id} does not exist on the Hugging Face Hub, or is private (run `hf auth "
            f"login` then){hint}"
        ) from None
    except OfflineModeIsEnabled:
        raise ModelError(_offline(repo_id, "HF_HUB_OFFLINE is set", hint)) from None
    except Exception as error:
        raise ModelError(_offline(repo_id, first_line(error), hint)) from None


def _offline(repo_id: str, reason: str, hint: str) -> str:
    folder = repo_id.rsplit("/", maxsplit=1)[-1]
    return (
        f"{repo_id} is not on this machine and the Hugging Face Hub cannot be reached ({reason}): "
        f"run `hf download {repo_id} --local-dir {folder}` (older versions: "
        "huggingface-cli download) on a connected machine, copy the folder here and give its path"
        f"{hint}"
    )
