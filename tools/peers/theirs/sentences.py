"""Sentences of about 22 tokens that both sides make by the same rule."""

WORDS = (
    "the model learns a small part of every task and keeps what it knew before while people read long reports about rivers trees engines music "
    "winter markets bread ships doctors stars gardens letters bridges"
).split()


def sentences(n: int) -> list[str]:
    out = []
    for i in range(n):
        count = 14 + (i * 7) % 14
        out.append(" ".join(WORDS[(i * 31 + j * (3 + i % 5)) % len(WORDS)] for j in range(count)) + ".")
    return out
