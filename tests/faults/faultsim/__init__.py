"""A simulator that tries to lose data: many processes, one bucket, every fault, all from one seed.

Start at `schedule.run`: one seed is one schedule. `scheduler` interleaves processes at every call
to the store; `store` is where calls fail, arrive late, or twice; `writer` makes and restores images
in miniature behind the seam of the real catalog; `actors` are the processes; `law` is what must
hold. Nothing here knows threads, clocks or the operating system: a seed replays exactly.
"""
