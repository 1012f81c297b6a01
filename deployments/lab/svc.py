"""The simulated array: its objects, state tables and command line; no network, no `blocks`."""
