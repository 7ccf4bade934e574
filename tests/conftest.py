"""The one option of these tests."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """``pytest --rewrite-figures`` writes what happened into ``tests/figures``; read the diff."""
    parser.addoption("--rewrite-figures", action="store_true", help="rewrite the transcripts")
