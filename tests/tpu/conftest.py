"""The programs compared with a plan are those that users run."""

from tests.compilation import optimise

optimise()
