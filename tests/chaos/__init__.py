"""Chaos: jobs on the local stack while calls fail, connections break and workers die; afterwards an auditor looks from outside.

`run.py` runs seeds, several side by side. All that is done to a run is drawn from its seed, in `plan.py`.
"""
