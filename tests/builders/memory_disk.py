"""A disk in memory, to read and to write, and what is on it: a host's part, without the host."""

from blocks.errors import ShortRead

EXTENT = 4096


class MemoryDisk:
    """Keeps to `blocks.host.base.Reader` and `Writer`."""

    def __init__(self, data):
        self.data = bytearray(data)

    @property
    def size_bytes(self):
        return len(self.data)

    def read_into(self, offset, buffer):
        if offset + len(buffer) > len(self.data):
            raise ShortRead("past the end")
        buffer[:] = self.data[offset : offset + len(buffer)]

    def data_runs(self):
        yield 0, len(self.data)

    def write(self, offset, data):
        assert offset + len(data) <= len(self.data), "past the end"
        self.data[offset : offset + len(data)] = data

    def zero(self, offset, length):
        self.write(offset, bytes(length))

    def flush(self):
        pass

    def close(self):
        pass


def volume(dice, size):
    """Make a volume of zeros, repetition and noise in runs of all lengths."""
    data = bytearray()
    while len(data) < size:
        length = dice.choice([100, EXTENT, 3 * EXTENT, 17 * EXTENT, 12345])
        kind = dice.randrange(3)
        data += (bytes(length), b"text " * (length // 5 + 1), dice.randbytes(length))[kind]
    return bytes(data[:size])


def changed(dice, data):
    """Change some of a volume: bytes, runs, and runs that become zero."""
    after = bytearray(data)
    for _ in range(dice.randrange(1, 6)):
        at = dice.randrange(len(data))
        length = min(dice.choice([1, 500, EXTENT, 9 * EXTENT]), len(data) - at)
        after[at : at + length] = bytes(length) if dice.random() < 0.4 else dice.randbytes(length)
    return bytes(after)
