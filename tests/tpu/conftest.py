"""Held to a plan are the programs that users have."""

from tests.compilation import optimise

optimise()
