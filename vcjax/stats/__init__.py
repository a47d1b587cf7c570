"""Statistics as plain functions on arrays.

values, ratings  -->  intervals    Interval: means, rates and paired differences, by bootstrap or
                                   Wilson; its record in a summary and its text for a reader
                 -->  agreement    Cohen's and Fleiss' kappa, Krippendorff's alpha, intraclass
                                   correlation
observed rates   -->  prevalence   corrected for the errors of the classifier that observed them
"""
