"""Collisions as in the UCI HIGGS set, made by formulae: numpy only, no Spark. docs/reference/higgs.md has them."""
