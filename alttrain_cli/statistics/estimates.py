"""Estimates with intervals, and differences. Prompts, not samples, are the unit."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, pvariance

from alttrain_cli.statistics.rates import Rate, Z, wilson

ALPHA = 0.05
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
    def of(cls, values: Mapping[str, Sequence[float]]) -> "Estimate | None":
        """Return the mean over prompts of the mean over each one's samples; None of nothing.

        With one yes or no a prompt this is Wilson's interval. Else it is Wilson's with the effective
        sample size that the spread between prompts amounts to (Korn and Graubard 1998), never fewer
        than there are prompts: the interval stays within 0 and 1 and has a width even when all agree.
        """
        means = [fmean(samples) for samples in values.values() if samples]
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
        """Derive the words for it."""
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
    target: Mapping[str, Sequence[float]], compared: Mapping[str, Sequence[float]]
) -> Difference | None:
    """Compare prompt by prompt; None if no prompt was judged for both.

    One yes or no a prompt: McNemar's exact test, and the interval of Bonett and Price (2012). Several
    samples or scores: the paired t test and interval on the prompts' means (Miller, arXiv 2411.00640).
    """
    pairs = [
        (fmean(samples), fmean(compared[item]))
        for item, samples in target.items()
        if samples and compared.get(item)
    ]
    if not pairs:
        return None
    if all(value in (0, 1) for pair in pairs for value in pair):
        return _of_pairs(pairs)
    return _of_means([one - other for one, other in pairs])


def _of_pairs(pairs: Sequence[tuple[float, float]]) -> Difference:
    from scipy.stats import binomtest

    n = len(pairs)
    up = sum(one > other for one, other in pairs)
    down = sum(one < other for one, other in pairs)
    p = float(binomtest(up, up + down).pvalue) if up + down else 1.0
    more, less = (up + 1) / (n + 2), (down + 1) / (n + 2)
    spread = Z * math.sqrt((more + less - (more - less) ** 2) / (n + 2))
    low, high = max(-1.0, more - less - spread), min(1.0, more - less + spread)
    return Difference(n, 100 * (up - down) / n, 100 * low, 100 * high, p, "McNemar, exact", up, down)


def _of_means(differences: Sequence[float]) -> Difference:
    from scipy.stats import t, ttest_1samp

    n, mean = len(differences), fmean(differences)
    if n < 2 or len({round(one, 9) for one in differences}) == 1:  # 1 - 2/3 is not quite 2/3 - 1/3
        return Difference(n, 100 * mean, -100.0, 100.0, 1.0, "none: too few different prompts")
    p = float(ttest_1samp(differences, 0.0).pvalue)
    error = math.sqrt(pvariance(differences) / (n - 1))
    spread = float(t.ppf(1 - ALPHA / 2, n - 1)) * error
    return Difference(n, 100 * mean, 100 * (mean - spread), 100 * (mean + spread), p, "paired t")


def safe_at(safe: Mapping[str, Sequence[bool]], k: int) -> dict[str, Estimate | None]:
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
