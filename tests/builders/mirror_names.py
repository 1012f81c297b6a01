"""The names of the lab's remote copy, for tests of the second site."""

GROUP = "sample_remote_cg"
PAIRS = [("Node1_1", "Node2_1"), ("Node1_2", "Node2_2")]
COPY_S = 1.0
