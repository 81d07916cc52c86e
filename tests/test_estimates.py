"""Intervals and tests, held to scipy, to scikit-learn and to worked examples that others published."""

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import product

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from alttrain_cli.statistics.estimates import (
    Difference,
    Estimate,
    correct_for_judge,
    difference,
    kappa,
    safe_at,
)
from alttrain_cli.statistics.rates import Rate
from alttrain_cli.statistics.spread import Spread
from tests.later import later

stats = later("scipy.stats")
metrics = later("sklearn.metrics")


def per_prompt(values: Sequence[float]) -> dict[str, list[float]]:
    return {str(number): [value] for number, value in enumerate(values)}


def paired(both: int, only_target: int, only_compared: int, neither: int) -> Difference:
    """Compare two models whose prompts fall into the four cells of a paired table."""
    pairs = [(1.0, 1.0)] * both + [(1.0, 0.0)] * only_target
    pairs += [(0.0, 1.0)] * only_compared + [(0.0, 0.0)] * neither
    found = difference(per_prompt([one for one, _ in pairs]), per_prompt([other for _, other in pairs]))
    assert found is not None
    return found


# --- one rate


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_a_rate_has_the_intervals_of_newcombe_1998(hits: int, n: int, low: float, high: float) -> None:
    found = Estimate.of_rate(Rate(hits, n))
    assert (found.share, found.n, found.hits) == (hits / n, n, hits)
    assert (found.low, found.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


@given(n=st.integers(1, 3_000), data=st.data())
def test_every_rate_has_scipys_wilson_interval(n: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, n))
    reference = stats().binomtest(hits, n).proportion_ci(method="wilson")
    values = per_prompt([1.0] * hits + [0.0] * (n - hits))
    for found in (Estimate.of_rate(Rate(hits, n)), Estimate.of(values)):
        assert found is not None
        assert (found.hits, found.n) == (hits, n)
        assert found.low == pytest.approx(reference.low, abs=1e-12)
        assert found.high == pytest.approx(reference.high, abs=1e-12)


def test_no_prompt_is_no_estimate_and_a_rate_of_none_may_be_anything() -> None:
    assert Estimate.of({}) is None
    assert Estimate.of({"a": []}) is None
    found = Estimate.of_rate(Rate(0, 0))
    assert (found.share, found.low, found.high, found.n) == (0.0, 0.0, 1.0, 0)


@pytest.mark.parametrize(
    ("means", "effective"),
    [
        ([0.25, 0.75, 0.5, 0.5], 32),  # 0.5 * 0.5 / (0.03125 / 4)
        ([0.2, 0.4, 0.6], 27),  # 0.4 * 0.6 / (0.08 / 3 / 3)
        ([0.0, 0.0, 0.5, 1.0], 60 / 11),  # 0.375 * 0.625 / (0.171875 / 4)
        ([0.5, 0.5], 2),  # no spread: as many as there are prompts
    ],
)
def test_samples_count_as_many_prompts_as_their_spread_amounts_to(
    means: list[float], effective: float
) -> None:
    share = sum(means) / len(means)
    found = Estimate.of({str(place): [mean, mean] for place, mean in enumerate(means)})
    assert found is not None
    assert (found.share, found.n, found.hits) == (pytest.approx(share), len(means), None)
    z2 = 1.959963984540054**2
    centre = (share + z2 / (2 * effective)) / (1 + z2 / effective)
    assert (found.low + found.high) / 2 == pytest.approx(centre)
    width = 2 * math.sqrt(z2) / (1 + z2 / effective)
    width *= math.sqrt(share * (1 - share) / effective + z2 / (4 * effective**2))
    assert found.high - found.low == pytest.approx(width)


def test_a_prompt_weighs_the_same_however_many_samples_it_has() -> None:
    found = Estimate.of({"a": [1.0], "b": [0.0, 0.0, 1.0, 0.0]})
    assert found is not None
    assert found.share == pytest.approx((1 + 0.25) / 2)


@given(st.dictionaries(st.text(max_size=3), st.lists(st.floats(0, 1), max_size=4), max_size=9))
def test_an_estimate_lies_within_its_interval(values: dict[str, list[float]]) -> None:
    found = Estimate.of(values)
    if found is None:
        assert not any(values.values())
    else:
        assert 0 <= found.low <= found.share + 1e-9
        assert found.share - 1e-9 <= found.high <= 1


# --- two models, one answer a prompt


@pytest.mark.parametrize(
    ("cells", "p", "low", "high"),
    [
        # Bentur 2009 and Cavo 2012, as Fagerland, Lydersen and Laake (2017) and their contingencytables have them
        ((1, 1, 7, 12), 0.0703125, -0.5084, -0.0134),
        ((59, 6, 16, 80), 0.0525, -0.1195, -0.0032),
        # Fay's exact2x2: mcnemar.exact(matrix(c(21, 9, 2, 12), 2, 2))
        ((21, 2, 9, 12), 0.06543, None, None),
    ],
)
def test_a_paired_table_has_the_published_p_value_and_interval(
    cells: tuple[int, int, int, int], p: float, low: float | None, high: float | None
) -> None:
    found = paired(*cells)
    assert found.test == "McNemar, exact"
    assert found.n == sum(cells)
    assert (found.only_target, found.only_compared) == cells[1:3]
    assert found.points == pytest.approx(100 * (cells[1] - cells[2]) / sum(cells))
    assert found.p == pytest.approx(p, abs=5e-5)
    if low is not None and high is not None:
        assert found.low == pytest.approx(100 * low, abs=5e-3)
        assert found.high == pytest.approx(100 * high, abs=5e-3)


@settings(max_examples=60)
@given(up=st.integers(0, 40), down=st.integers(0, 40), same=st.integers(0, 40))
def test_mcnemars_p_is_the_two_tails_of_a_fair_coin(up: int, down: int, same: int) -> None:
    assume(up + down + same)
    found = paired(0, up, down, same)
    tail = sum(math.comb(up + down, k) for k in range(min(up, down) + 1))
    expected = min(Fraction(1), 2 * Fraction(tail, 2 ** (up + down)))
    assert found.p == pytest.approx(float(expected))
    assert found.distinguishable == (expected < Fraction(5, 100))
    assert -100 <= found.low <= found.high <= 100


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=12)
    | st.lists(st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 1.0])), min_size=1, max_size=12)
)
def test_exchanging_the_models_changes_the_sign_and_nothing_else(pairs: list[tuple[float, float]]) -> None:
    one, other = per_prompt([a for a, _ in pairs]), per_prompt([b for _, b in pairs])
    there, back = difference(one, other), difference(other, one)
    assert there is not None
    assert back is not None
    assert there.points == pytest.approx(-back.points, abs=1e-9)
    assert (there.low, there.high) == (
        pytest.approx(-back.high, abs=1e-9),
        pytest.approx(-back.low, abs=1e-9),
    )
    assert (there.only_target, there.only_compared) == (back.only_compared, back.only_target)
    assert (there.n, there.test) == (back.n, back.test)
    assert there.p == pytest.approx(back.p, nan_ok=True)


def test_only_prompts_that_both_were_judged_on_are_compared() -> None:
    target = per_prompt([0.0] * 20)
    compared = {**per_prompt([float(number < 8) for number in range(18)]), "18": []}
    found = difference(target, compared)
    assert found is not None
    assert (found.n, found.only_target, found.only_compared) == (18, 0, 8)
    assert found.p == 2 / 2**8
    assert difference({"a": [1.0]}, {"b": [1.0]}) is None
    assert difference({"a": []}, {"a": [1.0]}) is None


# --- two models, several samples or a score a prompt


def test_a_paired_mean_is_students_own_example() -> None:
    """The sleep data of Student (1908), whose test and interval every R user knows from t.test(paired=TRUE)."""
    first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    found = difference(per_prompt(first), per_prompt(second))
    assert found is not None
    assert (found.test, found.n, found.only_target, found.only_compared) == ("paired t", 10, None, None)
    assert found.points == pytest.approx(-158)
    assert found.p == pytest.approx(0.002833, abs=5e-7)
    assert (found.low, found.high) == (pytest.approx(-245.98858), pytest.approx(-70.01142))
    assert found.words == "lower by 158 points (-246 to -70)"


@given(
    st.lists(
        st.tuples(st.lists(st.floats(0, 1), min_size=1, max_size=3), st.floats(0, 1)), min_size=2, max_size=9
    )
)
def test_means_over_samples_are_compared_as_scipy_compares_them(
    rows: list[tuple[list[float], float]],
) -> None:
    means = [sum(samples) / len(samples) for samples, _ in rows]
    others = [other for _, other in rows]
    assume(not all(value in (0, 1) for samples, other in rows for value in (*samples, other)))
    gaps = {round(one - other, 6) for one, other in zip(means, others, strict=True)}
    assume(len(gaps) > 1)
    found = difference({str(at): samples for at, (samples, _) in enumerate(rows)}, per_prompt(others))
    assert found is not None
    reference = stats().ttest_rel(means, others)
    interval = reference.confidence_interval(0.95)
    assert found.p == pytest.approx(reference.pvalue, rel=1e-6)
    assert found.low == pytest.approx(100 * interval.low, rel=1e-6, abs=1e-6)
    assert found.high == pytest.approx(100 * interval.high, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("gaps", [[0.5], [0.25, 0.25, 0.25]])
def test_too_few_different_prompts_are_no_evidence(gaps: list[float]) -> None:
    found = difference(per_prompt(gaps), per_prompt([0.0] * len(gaps)))
    assert found is not None
    assert (found.p, found.low, found.high) == (1.0, -100.0, 100.0)
    assert found.words == "not distinguishable (-100 to +100 points)"


def test_prompts_that_differ_only_by_rounding_are_not_different() -> None:
    """Each score is higher by a third; as floats, the two differences are not equal."""
    found = difference(per_prompt([1, 2 / 3]), per_prompt([2 / 3, 1 / 3]))
    assert found is not None
    assert (found.points, found.p, found.distinguishable) == (pytest.approx(100 / 3), 1.0, False)


# --- two models, several answers of yes or no a prompt


def clusters(*cells: tuple[int, int, int]) -> Difference:
    """Compare two models, of which each has so many hits (target, compared) of so many samples of a prompt."""
    target = {str(at): [1] * mine + [0] * (n - mine) for at, (mine, _, n) in enumerate(cells)}
    compared = {str(at): [0] * (n - its) + [1] * its for at, (_, its, n) in enumerate(cells)}
    found = difference(target, compared)
    assert found is not None
    return found


def test_prompts_with_several_samples_are_clusters_in_mcnemars_test() -> None:
    """By hand: 3 + 2 + 1 - 1 = 5, and of 16 ways to sign these, 6 have a sum of 5 or 7, or of -5 or -7."""
    found = clusters((4, 1, 4), (3, 1, 4), (2, 1, 4), (0, 1, 4), (2, 2, 4))
    assert found.test == "McNemar, exact, clustered by prompt"
    assert (found.n, found.points) == (5, pytest.approx(100 * 5 / 4 / 5))
    assert found.p == pytest.approx(6 / 16)
    # 20 samples as 20 prompts of their own would be 6 against 1 discordant pairs, and p = 0.125.
    assert (found.only_target, found.only_compared) == (None, None)


rows = st.integers(1, 4).flatmap(lambda n: st.tuples(st.integers(0, n), st.integers(0, n), st.just(n)))


@settings(max_examples=60)
@given(st.lists(rows, min_size=1, max_size=9))
def test_clusters_are_compared_as_scipy_permutes_them(cells: list[tuple[int, int, int]]) -> None:
    """scipy exchanges the two models within each prompt, in all 2^n ways."""
    found = clusters(*cells) if any(n > 1 for _, _, n in cells) else None
    assume(found is not None and len(cells) > 1)
    assert found is not None
    whole = [[hits * 12 // n for hits in (mine, its)] for mine, its, n in cells]
    reference = stats().permutation_test(
        ([one for one, _ in whole], [other for _, other in whole]),
        lambda one, other, axis: (one - other).sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=math.inf,
    )
    assert found.p == pytest.approx(reference.pvalue)
    assert -100 <= found.low <= found.points + 1e-9
    assert found.points - 1e-9 <= found.high <= 100


@settings(max_examples=40)
@given(up=st.integers(0, 20), down=st.integers(0, 20), same=st.integers(0, 20), of=st.integers(2, 5))
def test_clusters_of_equal_samples_are_one_pair_each(up: int, down: int, same: int, of: int) -> None:
    assume(up + down + same)
    one, many = (
        paired(0, up, down, same),
        clusters(*[(of, 0, of)] * up, *[(0, of, of)] * down, *[(0, 0, of)] * same),
    )
    assert many.p == pytest.approx(one.p)
    assert (many.points, many.low, many.high) == pytest.approx((one.points, one.low, one.high))


def test_with_too_many_sums_the_test_of_durkalski_gives_nearly_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cells = [(at * 7 % 5, at * 3 % 5, 4) for at in range(60)] + [(3, 1, 4)] * 8
    exact = clusters(*cells)
    monkeypatch.setattr("alttrain_cli.statistics.estimates.MOST_SUMS", 0)
    near = clusters(*cells)
    assert (exact.test, near.test) == ("McNemar, exact, clustered by prompt", "McNemar, clustered by prompt")
    assert 0.02 < exact.p < 0.5
    assert near.p == pytest.approx(exact.p, rel=0.1)
    gaps = [(mine - its) / n for mine, its, n in cells]
    statistic = sum(gaps) ** 2 / sum(gap**2 for gap in gaps)  # chi squared, one degree of freedom
    assert near.p == pytest.approx(stats().chi2.sf(statistic, 1))


# --- what may be said


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ((0, 0, 9, 1), "lower by 90 points (-100 to -41)"),
        ((0, 9, 0, 1), "higher by 90 points (+41 to +100)"),
        ((0, 0, 6, 44), "lower by 12 points (-22 to -1)"),
        ((0, 5, 0, 11), "not distinguishable (p = 0.062; +2 to +54 points)"),  # the interval alone says more
        ((0, 0, 5, 11), "not distinguishable (p = 0.062; -54 to -2 points)"),
        ((59, 6, 16, 80), "not distinguishable (p = 0.052; -12 to 0 points)"),
        ((3, 1, 2, 4), "not distinguishable (-45 to +28 points)"),
        ((5, 0, 0, 5), "not distinguishable (-23 to +23 points)"),
    ],
)
def test_the_words_name_the_direction_the_size_and_the_doubt(
    cells: tuple[int, int, int, int], words: str
) -> None:
    assert paired(*cells).words == words


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ((-0.4, -0.7, -0.1), "lower by 0.4 points (-0.7 to -0.1)"),
        ((2.2, 0.3, 4.1), "higher by 2.2 points (+0.3 to +4.1)"),
        ((0.31, 0.02, 0.6), "higher by 0.31 points (+0.02 to +0.60)"),
        ((-2.2, -3.8, -0.6), "lower by 2 points (-4 to -1)"),
    ],
)
def test_a_difference_that_there_is_is_not_shown_as_0_points(
    figures: tuple[float, float, float], words: str
) -> None:
    assert Difference(14_042, *figures, 0.01, "t").words == words


def test_a_p_value_of_exactly_one_in_twenty_is_not_enough() -> None:
    assert not Difference(9, 5.0, 1.0, 9.0, 0.05, "t").distinguishable
    assert Difference(9, 5.0, 1.0, 9.0, 0.0499, "t").distinguishable


# --- several samples a prompt, two judges, a judge that errs


def test_safe_at_k_needs_all_and_conssafe_half() -> None:
    safe = {"a": [True, True], "b": [True, False], "c": [False, False], "d": []}
    shares = {name: estimate and (estimate.share, estimate.n) for name, estimate in safe_at(safe, 2).items()}
    assert shares == {"safe@1": (0.5, 3), "safe@k": (1 / 3, 3), "conssafe@k": (2 / 3, 3)}
    fewer = safe_at({"a": [True, False, False]}, 3)["conssafe@k"]
    assert fewer is not None
    assert fewer.share == 0


def test_a_prompt_with_fewer_than_k_known_samples_is_in_no_figure_for_k() -> None:
    found = safe_at({"a": [True], "b": [True, True, False], "c": [True, True]}, 3)
    shares = {name: estimate and (estimate.share, estimate.n) for name, estimate in found.items()}
    assert shares == {"safe@1": (pytest.approx(8 / 9), 3), "safe@k": (0.0, 1), "conssafe@k": (1.0, 1)}
    assert safe_at({"a": [True]}, 2)["safe@k"] is None


@pytest.mark.parametrize(
    ("both", "first", "second", "neither", "expected"),
    [(20, 5, 10, 15, 0.4), (45, 15, 25, 15, 0.1304), (25, 35, 5, 35, 0.2593)],
)
def test_kappa_has_the_values_of_the_textbooks(
    both: int, first: int, second: int, neither: int, expected: float
) -> None:
    pairs = [(True, True)] * both + [(True, False)] * first + [(False, True)] * second
    pairs += [(False, False)] * neither
    n, agreed, found = kappa(pairs)
    assert (n, agreed) == (len(pairs), pytest.approx((both + neither) / len(pairs)))
    assert found == pytest.approx(expected, abs=5e-5)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_kappa_is_scikit_learns_and_undefined_where_both_never_vary(pairs: list[tuple[bool, bool]]) -> None:
    _, agreed, found = kappa(pairs)
    if len({one for pair in pairs for one in pair}) == 1:
        assert math.isnan(found)
        assert agreed == 1
    else:
        first, second = zip(*pairs, strict=True)
        assert found == pytest.approx(metrics().cohen_kappa_score(first, second))


def test_kappa_of_no_pair_is_undefined() -> None:
    n, agreed, found = kappa([])
    assert (n, math.isnan(agreed), math.isnan(found)) == (0, True, True)


def test_a_corrected_rate_has_the_interval_of_lang_and_reiczigel_2014() -> None:
    """Their first example, which the R package asht repeats: 95% interval 0.349 to 0.372."""
    found = correct_for_judge(Rate(4060, 11281), Rate(178, 179), Rate(358, 359))
    assert found is not None
    assert (round(found.low, 3), round(found.high, 3), found.n) == (0.349, 0.372, 11281)
    assert found.hits is None


@pytest.mark.parametrize(
    ("found", "sensitivity", "specificity", "expected"),
    [
        # epiR's first example of Rogan and Gladen's estimate: brucellosis, 5.1 per 100 cows
        (Rate(23, 150), Rate(96, 100), Rate(89, 100), 0.051),
        # 200 true hits of 1,000: 160 of them are found, and 80 of the other 800
        (Rate(240, 1000), Rate(800, 1000), Rate(900, 1000), 0.2),
        (Rate(10, 1000), Rate(80, 100), Rate(90, 100), 0.0),  # fewer than a judge that errs would find
        (Rate(990, 1000), Rate(80, 100), Rate(90, 100), 1.0),
    ],
)
def test_the_corrected_rate_takes_the_judges_errors_out(
    found: Rate, sensitivity: Rate, specificity: Rate, expected: float
) -> None:
    estimate = correct_for_judge(found, sensitivity, specificity)
    assert estimate is not None
    assert estimate.share == pytest.approx(expected, abs=5e-4)
    assert 0 <= estimate.low <= estimate.share <= estimate.high <= 1


def test_with_a_judge_without_errors_the_interval_is_that_of_agresti_and_coull() -> None:
    exact = Rate(10**7, 10**7)
    found = correct_for_judge(Rate(30, 100), exact, exact)
    z2 = 1.959964**2
    centre = (30 + z2 / 2) / (100 + z2)
    half = math.sqrt(z2 * centre * (1 - centre) / (100 + z2))
    assert found
    assert (found.low, found.high) == pytest.approx((centre - half, centre + half), abs=1e-5)


def test_fewer_labels_make_the_corrected_interval_wider() -> None:
    many = correct_for_judge(Rate(240, 1000), Rate(800, 1000), Rate(900, 1000))
    for few in (
        correct_for_judge(Rate(240, 1000), Rate(8, 10), Rate(900, 1000)),
        correct_for_judge(Rate(240, 1000), Rate(800, 1000), Rate(9, 10)),
        correct_for_judge(Rate(24, 100), Rate(800, 1000), Rate(900, 1000)),
    ):
        assert few is not None
        assert many is not None
        assert few.high - few.low > 1.2 * (many.high - many.low)


@given(
    st.integers(0, 30),
    *[st.integers(5, 9)] * 2,
)
def test_counting_misses_instead_of_hits_mirrors_the_corrected_rate(hits: int, found: int, left: int) -> None:
    """Then the judge's sensitivity is its specificity. Published examples with few labels were not found."""
    there = correct_for_judge(Rate(hits, 30), Rate(found, 9), Rate(left, 9))
    back = correct_for_judge(Rate(30 - hits, 30), Rate(left, 9), Rate(found, 9))
    assert (there is None) is (back is None)
    if there and back:
        mirrored = (1 - back.share, 1 - back.high, 1 - back.low)
        assert (there.share, there.low, there.high) == pytest.approx(mirrored, abs=1e-12)


@pytest.mark.parametrize("true", [0.1, 0.3, 0.5])
def test_with_few_labels_the_corrected_interval_still_holds_the_true_rate(true: float) -> None:
    """Over all outcomes of 25 completions and 12 labels of each kind, each with its probability."""
    (n, labels), (sensitivity, specificity) = (25, 12), (0.9, 0.8)
    hits = stats().binom(n, true * sensitivity + (1 - true) * (1 - specificity)).pmf(range(n + 1))
    found = stats().binom(labels, sensitivity).pmf(range(labels + 1))
    left = stats().binom(labels, specificity).pmf(range(labels + 1))
    below = above = told = 0.0
    for (i, p), (j, q), (k, r) in product(*map(enumerate, (hits, found, left))):
        estimate = correct_for_judge(Rate(i, n), Rate(j, labels), Rate(k, labels))
        if estimate:
            told += p * q * r
            below += p * q * r * (estimate.high < true)
            above += p * q * r * (true < estimate.low)
    assert below / told <= 0.05
    assert above / told <= 0.05


@pytest.mark.parametrize(
    ("sensitivity", "specificity", "told"), [((60, 100), (50, 100), True), ((59, 100), (50, 100), False)]
)
def test_a_judge_that_hardly_tells_corrects_nothing(
    sensitivity: tuple[int, int], specificity: tuple[int, int], told: bool
) -> None:
    found = correct_for_judge(Rate(240, 1000), Rate(*sensitivity), Rate(*specificity))
    assert (found is not None) is told


@pytest.mark.parametrize("missing", range(3))
def test_without_any_count_nothing_is_corrected(missing: int) -> None:
    rates = [Rate(240, 1000), Rate(800, 1000), Rate(900, 1000)]
    rates[missing] = Rate(0, 0)
    assert correct_for_judge(*rates) is None


# --- how numbers are spread


def test_a_spread_names_mean_median_ninetieth_percentile_and_maximum() -> None:
    assert Spread.of(range(1, 101)) == Spread(50.5, 50.5, 91, 100)
    assert Spread.of([3, 1, 2]) == Spread(2, 2, 3, 3)
    assert Spread.of([7]) == Spread(7, 7, 7, 7)
    assert Spread.of([1, 1, 2]) == Spread(1.3, 1, 2, 2)
    assert Spread.of([]) is None
