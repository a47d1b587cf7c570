"""The programs compared with other libraries are those that users run."""

from tests.compilation import optimise

optimise()
