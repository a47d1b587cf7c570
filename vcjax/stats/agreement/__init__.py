"""How far raters agree beyond chance, in rank and in distance, and what a panel of them is worth.

    kappa       two raters' labels (Cohen), many raters' (Fleiss)
    alpha       any number of raters, gaps allowed (Krippendorff)
    intraclass  numbers from the same raters (Shrout and Fleiss)
    ranks       the order that two raters put items in (Spearman)
    errors      raters against a reference: bias, distance, and how alike their errors are

Every coefficient is NaN where it is undefined: where chance alone would leave no disagreement, or
where a rater gives all items the same number. Intervals are by the Bayesian bootstrap; see
`resampling`.
"""

from vcjax.stats.agreement.alpha import Level, alpha_interval, krippendorff_alpha
from vcjax.stats.agreement.errors import RaterErrors, rater_errors
from vcjax.stats.agreement.intraclass import Form, icc, icc_interval
from vcjax.stats.agreement.kappa import (
    KappaTest,
    Label,
    Weights,
    cohen_kappa,
    cohen_test,
    fleiss_kappa,
    fleiss_test,
    item_agreement,
    kappa_interval,
)
from vcjax.stats.agreement.ranks import spearman, spearman_interval

__all__ = [
    "Form",
    "KappaTest",
    "Label",
    "Level",
    "RaterErrors",
    "Weights",
    "alpha_interval",
    "cohen_kappa",
    "cohen_test",
    "fleiss_kappa",
    "fleiss_test",
    "icc",
    "icc_interval",
    "item_agreement",
    "kappa_interval",
    "krippendorff_alpha",
    "rater_errors",
    "spearman",
    "spearman_interval",
]
