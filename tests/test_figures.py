"""The paper's figures, played by the real rules; ``--rewrite-figures`` writes them anew."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from spec.disk import ServerOnDisk
from spec.invariants import PROPERTIES, WITNESSES, Claim
from tests.cluster import KINDS, Cluster
from tests.transcript import BadCommand, obey, played

FIGURES = sorted((Path(__file__).parent / "figures").glob("*.txt"))


@pytest.mark.parametrize("path", FIGURES, ids=lambda p: p.stem)
def test_figure_happens_as_written(path: Path, pytestconfig: pytest.Config) -> None:
    text = path.read_text(encoding="utf-8")
    happened, _ = played(text)
    if pytestconfig.getoption("--rewrite-figures"):
        path.write_text(happened, encoding="utf-8")
    else:
        assert happened == text


def test_figures_apply_every_property_and_show_every_witness() -> None:
    applied: Counter[str] = Counter()
    for path in FIGURES:
        for cluster in played(path.read_text(encoding="utf-8"))[1]:
            applied += cluster.applied
    assert {c.name for c in PROPERTIES + WITNESSES if of_servers_alone(c)} <= set(applied)


def of_servers_alone(claim: Claim) -> bool:
    """Does it show without clients and disks as processes, which transcripts do not have?"""
    on_disk = ServerOnDisk in KINDS[claim.name]
    return not (claim.feature or on_disk or (claim.needs and claim.needs.parallel_write))


def test_altered_transcript_is_noticed() -> None:
    text = FIGURES[0].read_text(encoding="utf-8")
    altered = text.replace("commit 0", "commit 1", 1)
    assert altered != text
    assert played(altered)[0] == text


def test_unknown_command_is_refused() -> None:
    with pytest.raises(BadCommand, match="S1: sleeps"):
        obey(Cluster(), "S1: sleeps")
