"""Benchmarks and budgets: exact counts per operation, times as ratios to limits of the same run.

    python -m bench [name ...] [--json] [--quick] [--dir PATH] [--loop NAME] [--profile]

A number alone says little about a shared machine. Each time stands beside the limit that the same
machine gave in the same run, measured by a program that does the same job without a store
(`floor.py`, `limits.py`); budgets are ratios of the two. Counts (copies, writes, flushes, messages)
do not depend on the machine: they are exact, and a wrong one ends the run with status 1.

Source: ours
"""
