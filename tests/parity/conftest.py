"""Held to other libraries are the programs that users have."""

from tests.compilation import optimise

optimise()
