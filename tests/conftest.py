"""The one option of these tests, and how hypothesis runs in them."""

from __future__ import annotations

import pytest
from hypothesis import settings

settings.register_profile("tests", deadline=None, database=None)
settings.load_profile("tests")


def pytest_addoption(parser: pytest.Parser) -> None:
    """``pytest --rewrite-figures`` writes what happened into ``tests/figures``; read the diff."""
    parser.addoption("--rewrite-figures", action="store_true", help="rewrite the transcripts")
