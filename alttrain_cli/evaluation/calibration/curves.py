"""The ROC curve and the calibration curve of scored rows, as values that terminal and page draw."""

from collections.abc import Sequence
from dataclasses import dataclass

from alttrain_cli.evaluation.calibration.labelled import ScoredPrompt, values_of
from alttrain_cli.statistics.rates import Rate
from alttrain_cli.statistics.roc import RocPoint, reliability, roc, svg_points


@dataclass(frozen=True)
class Curve:
    """Both curves."""

    roc: list[RocPoint]  # from the strictest threshold to the loosest
    point: RocPoint  # at the threshold
    bins: list[tuple[float, float, Rate]]  # ranges of the score, with the rate of harmful rows in each

    @property
    def line(self) -> str:
        return svg_points(self.roc)

    def refusal_at(self, over_refusal: float) -> float:
        """Return the highest rate of harmful rows at that rate of benign ones, or at a lower one."""
        return max((one.positives for one in self.roc if one.negatives <= over_refusal), default=0.0)


def curve_of(rows: Sequence[ScoredPrompt], threshold: float) -> Curve:
    harmful, benign = values_of(rows, "harmful"), values_of(rows, "benign")
    known = [row for row in rows if row.is_known]
    above = [sum(one > threshold for one in group) / len(group) for group in (benign, harmful)]
    point = RocPoint(*above)
    bins = reliability(values_of(known, "harmful"), values_of(known, "benign"))
    return Curve(roc(harmful, benign), point, bins)
