"""How far the judges of an evaluation can be trusted.

section     each judge's scores and failures, and the blocks of the other two
planted     how each judge scored answers whose scores are known; the notice of an unfit judge
agreement   judges with each other, with people, and each with itself
"""

from vcjax.report.judging.planted import judge_notices
from vcjax.report.judging.section import judges_section

__all__ = ["judge_notices", "judges_section"]
