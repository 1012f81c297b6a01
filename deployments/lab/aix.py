"""The simulated AIX node."""
