"""The range of a judge's scores, for those above who only need that."""

from vcjax.roles.verdict import HIGHEST, LOWEST

__all__ = ["HIGHEST", "LOWEST"]
