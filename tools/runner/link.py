# SPDX-License-Identifier: Apache-2.0
"""The runner link of include/abi/link.h: frames of MAGIC, channel, length, bytes; all else is noise."""

MAGIC = 0x1D
LOG, CONSOLE, EVENT, EXEC, REPORT, VM0 = 0, 1, 2, 3, 4, 16
CHANNELS = 96


def frames(channel, data):
    """The frames that carry data on channel."""
    out = bytearray()
    for i in range(0, len(data), 255):
        piece = data[i:i + 255]
        out += bytes((MAGIC, channel, len(piece))) + piece
    return bytes(out)


class Parser:
    """Feeds on the serial port's bytes; gives (channel, bytes) pairs. Noise goes to channel None."""

    def __init__(self):
        self.rest = bytearray()

    def feed(self, data):
        self.rest += data
        out, pos, end = [], 0, len(self.rest)
        while pos < end:
            start = self.rest.find(MAGIC, pos)
            if start != pos:
                stop = end if start < 0 else start
                out.append((None, bytes(self.rest[pos:stop])))
                pos = stop
                continue
            if end - pos < 3:
                break
            channel, length = self.rest[pos + 1], self.rest[pos + 2]
            if channel >= CHANNELS or length == 0:
                out.append((None, bytes(self.rest[pos:pos + 1])))
                pos += 1
                continue
            if end - pos < 3 + length:
                break
            out.append((channel, bytes(self.rest[pos + 3:pos + 3 + length])))
            pos += 3 + length
        del self.rest[:pos]
        return out
