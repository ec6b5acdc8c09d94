"""Uploading an export folder to the Hugging Face hub."""

import re

from ladagan_tf import extras
from ladagan_tf.errors import InputError, reason


def parse(push):
    """The repository of `hf:USER/REPO`.

    Raises:
        InputError: if it is written otherwise, or huggingface_hub cannot be imported.
    """
    match = re.fullmatch(r"hf:([\w.-]+/[\w.-]+)", push)
    if not match:
        raise InputError(f"push={push}: write hf:USER/REPO")
    _client()
    return match[1]


def upload(folder, repository):
    """Uploads a folder, with the credentials of `hf auth login` or HF_TOKEN.

    Args:
        folder: path of a finished export.
        repository: str, USER/REPO; made if it does not exist.

    Returns:
        str, the address of the upload.

    Raises:
        InputError: if the hub refuses or cannot be reached; the folder stays.
    """
    api = _client()()
    try:
        api.create_repo(repository, exist_ok=True)
        return str(api.upload_folder(repo_id=repository, folder_path=str(folder)))
    except Exception as error:  # the hub's client changes its family of exceptions by version
        raise InputError(
            f"push=hf:{repository}: the upload failed ({reason(error)}); {folder} is complete"
        ) from error


def _client():
    with extras.needed("push", "hub"):
        from huggingface_hub import HfApi  # by name: what it needs is imported when it is asked for
    return HfApi
