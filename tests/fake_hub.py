"""What stands for huggingface_hub where nothing can be downloaded."""

import fnmatch
import pathlib
import shutil


class FakeHub:
    """Copies what is asked for from a folder that plays the repository; or fails.

    Attributes:
        asked: list of (repository, patterns).
    """

    def __init__(self, repository, local, error=None):
        self.repository, self.local = pathlib.Path(repository), pathlib.Path(local)
        self.error, self.asked = error, []

    def snapshot_download(self, repository, allow_patterns):
        """The path of what was downloaded, as huggingface_hub returns it: str."""
        self.asked.append((repository, allow_patterns))
        if self.error:
            raise self.error
        for file in self.repository.rglob("*"):
            name = str(file.relative_to(self.repository))
            if file.is_file() and any(fnmatch.fnmatchcase(name, p) for p in allow_patterns):
                (self.local / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, self.local / name)
        return str(self.local)
