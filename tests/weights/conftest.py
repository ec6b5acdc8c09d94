"""What the weight-file tests share: the recorded samples."""

import pytest


@pytest.fixture
def formats(oracle_dir):
    return oracle_dir / "formats"
