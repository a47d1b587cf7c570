from benchmarks.ledger import STAGES, measure_ledger


def test_what_is_measured_is_a_ledger_of_that_size_and_it_is_cleared_away(tmp_path):
    measured = measure_ledger(1200, tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert measured["attempts"] == 1200
    assert measured["calls"] >= 1200 * len(STAGES)
    assert measured["file_bytes"] > 1200 * 2000
    assert measured["resume_characters"] > 1200 * 50
    assert len(measured["count_seconds"]) == 4
    for name in ("records_per_second", "records_per_second_at_last", "calls_per_second"):
        assert measured[name] > 0
    assert measured["peak_bytes"] > 2**20
