"""Judges: who scores the answers, how, and how far they can be trusted."""
