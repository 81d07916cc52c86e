"""Estimates with intervals, and differences. Prompts, not samples, are the unit."""

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from statistics import fmean, pvariance
from typing import Any

from alttrain_cli.statistics.rates import Rate, Z, percent, span, wilson

ALPHA = 0.05
MOST_SUMS = 10**8
USELESS = 0.1  # a judge whose sensitivity and specificity add up to less than 1.1 corrects nothing


@dataclass(frozen=True)
class Estimate:
    """A share or a mean from 0 to 1 with its 95% interval."""

    share: float
    low: float
    high: float
    n: int  # prompts
    hits: int | None = None  # None: a mean

    @classmethod
    def of(cls, values: Mapping[Any, Sequence[float]]) -> "Estimate | None":
        """Return the mean over prompts of the mean over each one's samples; None of nothing.

        With one yes or no a prompt this is Wilson's interval. Else it is Wilson's with the effective
        sample size that the spread between prompts amounts to (Korn and Graubard 1998), never fewer
        than there are prompts: the interval stays within 0 and 1 and has a width even when all agree.
        """
        means = array("d", (fmean(samples) for samples in values.values() if samples))
        if not means:
            return None
        share, n = fmean(means), len(means)
        if all(mean in (0, 1) for mean in means):
            low, high = wilson(share, n)
            return cls(share, low, high, n, hits=round(sum(means)))
        spread = pvariance(means) / n
        low, high = wilson(share, max(n, share * (1 - share) / spread) if spread else n)
        return cls(share, low, high, n)

    @classmethod
    def of_rate(cls, rate: Rate) -> "Estimate":
        low, high = rate.interval
        return cls(rate.share if rate.n else 0.0, low, high, rate.n, rate.hits)

    def __str__(self) -> str:
        interval = f"({span(self.low, self.high)})"
        if self.hits is None:
            return f"{percent(self.share)} {interval} n={self.n}"
        return f"{self.hits}/{self.n} = {percent(self.share)} {interval}"


def mean_of(parts: Sequence[Estimate]) -> Estimate:
    """Return the mean of independent estimates; its interval comes from theirs (Zou and Donner 2008)."""
    share = fmean(one.share for one in parts)
    below = math.hypot(*(one.share - one.low for one in parts)) / len(parts)
    above = math.hypot(*(one.high - one.share for one in parts)) / len(parts)
    return Estimate(share, _within(share - below), _within(share + above), sum(one.n for one in parts))


@dataclass(frozen=True)
class Difference:
    """Target minus compared, over the prompts that both have a judgement of."""

    n: int
    points: float  # percentage points
    low: float
    high: float
    p: float
    test: str
    only_target: int | None = None  # discordant prompts: yes with the target alone
    only_compared: int | None = None
    distinguishable: bool = field(init=False)  # chance alone would seldom do this
    words: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "distinguishable", self.p < ALPHA)
        object.__setattr__(self, "words", self._in_words())

    def _in_words(self) -> str:
        """Return the difference in words. If test and interval disagree, both are given.

        A difference that there is gets as many decimals as it needs not to be one of 0 points.
        """
        digits = _decimals((self.points, self.low, self.high)) if self.distinguishable else 0
        interval = f"{_signed(self.low, digits)} to {_signed(self.high, digits)}"
        if not self.distinguishable:
            against = f"p = {self.p:.3f}; " if self.low > 0 or self.high < 0 else ""
            return f"not distinguishable ({against}{interval} points)"
        way = "lower" if self.points < 0 else "higher"
        return f"{way} by {abs(self.points):.{digits}f} points ({interval})"


def difference(
    target: Mapping[Any, Sequence[float]], compared: Mapping[Any, Sequence[float]]
) -> Difference | None:
    """Compare prompt by prompt; None if no prompt was judged for both.

    Yes or no: McNemar's exact test, and the interval of Bonett and Price (2012). With several samples a
    prompt is a cluster of them. Scores: the paired t test and interval (Miller, arXiv 2411.00640).
    """
    differences, is_binary, is_single = array("d"), True, True
    for item, samples in target.items():
        if samples and (others := compared.get(item)):
            differences.append(fmean(samples) - fmean(others))
            is_binary = is_binary and all(value in (0, 1) for value in (*samples, *others))
            is_single = is_single and len(samples) == len(others) == 1
    if not differences:
        return None
    if not is_binary:
        return _of_means(differences)
    if is_single:
        return _of_pairs(differences)
    pairs = ((samples, compared.get(item)) for item, samples in target.items())
    return _of_clusters([_gap(samples, others) for samples, others in pairs if samples and others])


def _of_pairs(differences: Sequence[float]) -> Difference:
    """Compare one yes or no a prompt."""
    from scipy.stats import binomtest

    n = len(differences)
    up, down = sum(one > 0 for one in differences), sum(one < 0 for one in differences)
    p = float(binomtest(up, up + down).pvalue) if up + down else 1.0
    low, high = _adjusted(differences)
    return Difference(n, 100 * (up - down) / n, 100 * low, 100 * high, p, "McNemar, exact", up, down)


def _adjusted(gaps: Sequence[float]) -> tuple[float, float]:
    """Return the interval of Bonett and Price: a normal one, after one prompt more in each direction."""
    more = array("d", gaps) + array("d", [1.0, -1.0])
    spread = Z * math.sqrt(pvariance(more) / len(more))
    return max(-1.0, fmean(more) - spread), min(1.0, fmean(more) + spread)


def _gap(target: Sequence[float], compared: Sequence[float]) -> Fraction:
    """Return the difference of two means of yes and no."""
    return Fraction(round(sum(target)), len(target)) - Fraction(round(sum(compared)), len(compared))


def _of_clusters(gaps: Sequence[Fraction]) -> Difference:
    """Compare prompts with several samples: if the models are alike, each difference may have either sign.

    With one sample this is McNemar's exact test. Its limit for many prompts is the test of Durkalski et al.
    (Statistics in Medicine 2003) for clustered pairs, which is used if there are too many sums to count.
    """
    scale = math.lcm(*(gap.denominator for gap in gaps))
    sizes = [abs(int(gap * scale)) for gap in gaps if gap]
    found, can_count = abs(int(sum(gaps) * scale)), sum(sizes) * len(sizes) <= MOST_SUMS
    p = _of_signs(sizes, found) if can_count else _of_limit(sizes, found)
    test = "McNemar, exact, clustered by prompt" if can_count else "McNemar, clustered by prompt"
    n, (low, high) = len(gaps), _adjusted([float(gap) for gap in gaps])
    return Difference(n, 100 * float(sum(gaps) / n), 100 * low, 100 * high, p, test)


def _of_signs(sizes: Sequence[int], found: int) -> float:
    """Return how likely the sum of these sizes, each with a random sign, is at least so far from 0."""
    import numpy as np

    likely = np.zeros(sum(sizes) + 1)  # by the sum of those with a plus
    likely[0] = 1.0
    for size in sizes:
        moved = likely[: len(likely) - size].copy()
        likely /= 2
        likely[size:] += moved / 2
    sums = 2 * np.arange(len(likely)) - sum(sizes)
    return min(1.0, float(likely[np.abs(sums) >= found].sum()))


def _of_limit(sizes: Sequence[int], found: int) -> float:
    return math.erfc(found / math.sqrt(2 * sum(size**2 for size in sizes)))


def _of_means(differences: Sequence[float]) -> Difference:
    from scipy.stats import t, ttest_1samp

    n, mean = len(differences), fmean(differences)
    # 1 - 2/3 is not quite 2/3 - 1/3
    if n < 2 or all(round(one, 9) == round(differences[0], 9) for one in differences):
        return Difference(n, 100 * mean, -100.0, 100.0, 1.0, "none: too few different prompts")
    p = float(ttest_1samp(differences, 0.0).pvalue)
    error = math.sqrt(pvariance(differences) / (n - 1))
    spread = float(t.ppf(1 - ALPHA / 2, n - 1)) * error
    return Difference(n, 100 * mean, 100 * (mean - spread), 100 * (mean + spread), p, "paired t")


def safe_at(safe: Mapping[Any, Sequence[bool]], k: int) -> dict[str, Estimate | None]:
    """Return SafeChain's Safe@1, Safe@K and ConsSafe@K (arXiv 2502.12025) for K samples a prompt.

    Safe@K: all of them are safe. ConsSafe@K: at least half of them are. A prompt with fewer than K known
    samples counts in neither: fewer are all safe more often.
    """
    whole = {item: samples for item, samples in safe.items() if len(samples) == k}
    return {
        "safe@1": Estimate.of({item: [float(one) for one in samples] for item, samples in safe.items()}),
        "safe@k": Estimate.of({item: [float(all(samples))] for item, samples in whole.items()}),
        "conssafe@k": Estimate.of({item: [float(2 * sum(samples) >= k)] for item, samples in whole.items()}),
    }


def correct_for_judge(found: Rate, sensitivity: Rate, specificity: Rate) -> Estimate | None:
    """Return the rate that a judge without errors would give (Rogan and Gladen 1978).

    The interval is Lang and Reiczigel's (2014), which counts that sensitivity and specificity were
    measured on few labels themselves. None if the judge is too inaccurate.
    """
    if not (found.n and sensitivity.n and specificity.n):
        return None
    if sensitivity.share + specificity.share - 1 < USELESS:
        return None
    n = found.n + Z**2
    share = (found.hits + Z**2 / 2) / n
    se, n_se = (sensitivity.hits + 1) / (sensitivity.n + 2), sensitivity.n + 2
    sp, n_sp = (specificity.hits + 1) / (specificity.n + 2), specificity.n + 2
    power = se + sp - 1
    true = (share + sp - 1) / power
    shift = 2 * Z**2 * (true * se * (1 - se) / n_se - (1 - true) * sp * (1 - sp) / n_sp)
    variance = (
        share * (1 - share) / n + true**2 * se * (1 - se) / n_se + (1 - true) ** 2 * sp * (1 - sp) / n_sp
    )
    spread = Z * math.sqrt(variance) / power
    point = (found.share + specificity.share - 1) / (sensitivity.share + specificity.share - 1)
    low, high = _within(true + shift - spread), _within(true + shift + spread)
    return Estimate(min(max(_within(point), low), high), low, high, found.n)


def kappa(pairs: Iterable[tuple[bool, bool]]) -> tuple[int, float, float]:
    """Return n, the share of agreement and Cohen's kappa of two judges (nan if one never varies)."""
    both = list(pairs)
    if not both:
        return 0, math.nan, math.nan
    agreed = fmean(one == other for one, other in both)
    first, second = fmean(one for one, _ in both), fmean(other for _, other in both)
    chance = first * second + (1 - first) * (1 - second)
    return len(both), agreed, math.nan if chance == 1 else (agreed - chance) / (1 - chance)


def _decimals(figures: Sequence[float]) -> int:
    """Return how many decimals keep all figures but those of 0 from being rounded to it, at most 2."""
    return next((digits for digits in (0, 1) if all(round(one, digits) for one in figures if one)), 2)


def _signed(points: float, digits: int) -> str:
    """Return points with their sign; zero has none."""
    return f"{points:+.{digits}f}" if round(points, digits) else "0"


def _within(share: float) -> float:
    return min(1.0, max(0.0, share))
