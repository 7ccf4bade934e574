"""Tests: the paper, the claims, the checker."""
