"""Statistics as plain functions on arrays.

intervals    means and rates with confidence intervals (bootstrap, Wilson), crossed and paired
prevalence   rates seen through a classifier that errs, corrected for its errors
agreement    Cohen's and Fleiss' kappa, Krippendorff's alpha, intraclass correlation
"""
