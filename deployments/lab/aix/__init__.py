"""The simulated AIX node of a PowerHA cluster."""
