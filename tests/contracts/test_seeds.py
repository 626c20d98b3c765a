"""Seeds: the same everywhere, and different for all that differs."""

from hypothesis import given
from hypothesis import strategies as st

from metta.sweep.contracts.seeds import SEED_BITS, derived_seed

SEEDS = st.one_of(st.integers(), st.text(max_size=5).filter(lambda text: "\0" not in text))


@given(SEEDS, st.integers(0, 10**9), st.sampled_from(["trial", "suggest", ""]))
def test_a_seed_fits_where_libraries_take_one(seed: int | str, number: int, purpose: str) -> None:
    assert 0 <= derived_seed(seed, number, purpose) < 2**SEED_BITS


def test_seeds_stay_as_they_were_recorded() -> None:
    # sweeps that are resumed after an update go on with the same numbers
    assert derived_seed(7, 0, "trial") == 2284666775
    assert derived_seed("brave-otter-4821", 3, "suggest") == 1719280308


def test_sweep_number_and_purpose_each_make_another_seed() -> None:
    seeds = {
        derived_seed(seed, number, purpose)
        for seed in (0, 1, -1, "a")
        for number in (0, 1, 10)
        for purpose in ("trial", "suggest")
    }
    assert len(seeds) == 4 * 3 * 2


def test_digits_of_seed_and_number_do_not_run_together() -> None:
    assert derived_seed(1, 11, "trial") != derived_seed(11, 1, "trial")
