"""The seeded random numbers of `Rng` in @lfm/core, for what a fixture and the code that it is for must draw alike."""

from __future__ import annotations

WORD = 0xFFFFFFFF


def mix32(value: int) -> int:
    x = value & WORD
    x ^= x >> 16
    x = x * 0x7FEB352D & WORD
    x ^= x >> 15
    x = x * 0x846CA68B & WORD
    return (x ^ x >> 16) & WORD


def rotl(x: int, k: int) -> int:
    return (x << k | x >> 32 - k) & WORD


class Rng:
    def __init__(self, seed: int) -> None:
        self.seed = seed & WORD
        self.state = [mix32(self.seed + 0x9E3779B9 * i) for i in range(1, 5)]

    def split(self, label: str) -> Rng:
        h = mix32(self.seed ^ 0x51ED270B)
        for ch in label:
            h = mix32((h ^ ord(ch)) + 0x9E3779B9)
        return Rng(h)

    def uint32(self) -> int:
        s = self.state
        result = rotl(s[1] * 5 & WORD, 7) * 9 & WORD
        t = s[1] << 9 & WORD
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = rotl(s[3], 11)
        return result

    def uniform(self) -> float:
        return ((self.uint32() >> 5) * 67108864 + (self.uint32() >> 6)) / 9007199254740992
