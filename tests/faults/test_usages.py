"""No usage object that a provider could send raises, or comes out negative or as no integer."""

from tests.faults.usages import run


def test_hostile_usage_is_estimated_or_read_as_whole_counts() -> None:
    finding = run(30_000, seed=7)

    assert finding.wrong == []
    assert finding.read_as.keys() == {"exact", "estimated"}
    assert min(finding.read_as.values()) > 500  # neither is a rare accident
