"""An SSH server in front of a simulated machine."""
