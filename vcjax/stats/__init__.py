"""Statistics as plain functions on arrays.

values, ratings  -->  intervals    Interval: means, rates and paired differences, each with the
                                   p-value of no change; its record and its text for a reader
                        bounded    the mean of values on a scale, for small samples
                        paired     McNemar's exact test, Tango's interval
                        clusters   variance and effective number of values that aren't independent
                 -->  agreement    Cohen's and Fleiss' kappa, Krippendorff's alpha, intraclass
                                   correlation
p-values         -->  multiplicity corrected for how many there are
observed rates   -->  prevalence   corrected for the errors of the classifier that observed them
"""
