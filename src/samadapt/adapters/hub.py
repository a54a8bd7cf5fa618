"""Upload and download of adapter folders on the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

from samadapt.errors import AdapterError

FILES = ("adapter_config.json", "adapter_model.safetensors")
"""Files of an adapter; other files of a repository are not fetched."""


def upload(folder: Path, repo_id: str, *, private: bool, token: str | None) -> str:
    """Upload a folder as one commit; the repository is created if it does not exist.

    Returns:
        The address of the commit.

    Raises:
        AdapterError: refused by the Hub, or no network.
    """
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    try:
        api.create_repo(repo_id, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo_id, folder_path=str(folder), commit_message="Upload samadapt adapter"
        )
    except Exception as error:  # the client's error types differ between its versions
        raise AdapterError(
            f"cannot upload to {repo_id!r} ({' '.join(str(error).split())[:300]}): log in with "
            "`hf auth login`, or give a token that may write there"
        ) from error
    return str(commit.commit_url)


def download(repo_id: str) -> Path:
    """The folder of an adapter on the Hub, downloaded unless it is in the Hub's cache.

    Raises:
        AdapterError: no such repository, or it cannot be fetched.
    """
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repo_id, allow_patterns=list(FILES)))
    except Exception as error:  # the client's error types differ between its versions
        raise AdapterError(
            f"no folder {repo_id!r}, and no such adapter could be fetched from the Hub "
            f"({type(error).__name__}): check the name; without a network, copy its folder here "
            "and give that path"
        ) from error
