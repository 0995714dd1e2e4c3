"""Files that are safetensors, nearly are, or are not, and whether the safetensors library reads them."""

from __future__ import annotations

import base64
import json
import struct

from safetensors import SafetensorError, safe_open

from fixture import ROOT

PATH = ROOT / "packages/formats/test/golden/safetensors-verdicts.json"


def entry(dtype: str, shape: object, offsets: object, **more: object) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets, **more}


ONE = entry("F32", [1], [0, 4])


def head(header: object) -> bytes:
    return header if isinstance(header, bytes) else json.dumps(header, ensure_ascii=False).encode()


def file(header: object, data: int = 4, length: int | None = None) -> bytes:
    text = head(header)
    return struct.pack("<Q", len(text) if length is None else length) + text + bytes(range(data))


def text_of(*pairs: str) -> bytes:
    return ("{" + ",".join(pairs) + "}").encode()


def cases() -> dict[str, bytes]:
    one = json.dumps(ONE)
    return {
        "plain": file({"a": ONE}),
        "no tensor": file({}, 0),
        "metadata": file({"__metadata__": {"format": "pt"}, "a": ONE}),
        "metadata null": file({"__metadata__": None, "a": ONE}),
        "metadata empty": file({"__metadata__": {}, "a": ONE}),
        "metadata null alone": file({"__metadata__": None}, 0),
        "metadata of numbers": file({"__metadata__": {"n": 1}, "a": ONE}),
        "metadata value null": file({"__metadata__": {"n": None}, "a": ONE}),
        "metadata nested": file({"__metadata__": {"n": {"m": "x"}}, "a": ONE}),
        "metadata a list": file({"__metadata__": ["x"], "a": ONE}),
        "metadata a text": file({"__metadata__": "x", "a": ONE}),
        "metadata twice": file(text_of('"__metadata__":{"a":"1"}', '"__metadata__":{"b":"2"}', f'"a":{one}')),
        "metadata key twice": file(text_of('"__metadata__":{"a":"1","a":"2"}', f'"a":{one}')),
        "metadata called __proto__": file({"__metadata__": {"__proto__": "x"}, "a": ONE}),
        "byte order mark": file(b"\xef\xbb\xbf" + head({"a": ONE})),
        "space in front": file(b"  " + head({"a": ONE})),
        "line break in front": file(b"\n" + head({"a": ONE})),
        "spaces behind": file(head({"a": ONE}) + b"    "),
        "zeros behind": file(head({"a": ONE}) + b"\0\0\0\0"),
        "text behind": file(head({"a": ONE}) + b" x"),
        "no UTF-8": file(b'{"\xff\xfe":' + head(ONE) + b"}"),
        "half a surrogate pair": file(b'{"\\ud800":' + head(ONE) + b"}"),
        "a surrogate pair": file(b'{"\\ud83d\\ude00":' + head(ONE) + b"}"),
        "tensor called __proto__": file({"__proto__": ONE}),
        "tensor called constructor": file({"constructor": ONE, "toString": entry("F32", [1], [4, 8])}, 8),
        "tensor without a name": file({"": ONE}),
        "tensor twice, one place": file(text_of(f'"a":{one}', f'"a":{one}')),
        "tensor twice, two places": file(text_of(f'"a":{one}', f'"a":{json.dumps(entry("F32", [1], [4, 8]))}'), 8),
        "dtype twice": file(b'{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}'),
        "another key": file({"a": entry("F32", [1], [0, 4], note="x")}),
        "another key with null": file({"a": entry("F32", [1], [0, 4], note=None)}),
        "another key with a list": file({"a": entry("F32", [1], [0, 4], note=[1])}),
        "no dtype": file({"a": {"shape": [1], "data_offsets": [0, 4]}}),
        "no shape": file({"a": {"dtype": "F32", "data_offsets": [0, 4]}}),
        "no offsets": file({"a": {"dtype": "F32", "shape": [1]}}),
        "dtype in small letters": file({"a": entry("f32", [1], [0, 4])}),
        "dtype null": file({"a": {"dtype": None, "shape": [1], "data_offsets": [0, 4]}}),
        "unknown dtype": file({"a": entry("F128", [1], [0, 16])}, 16),
        "tensor null": file({"a": None}, 0),
        "tensor a list": file({"a": ["F32", [1], [0, 4]]}),
        "shape null": file({"a": entry("F32", None, [0, 4])}),
        "shape a number": file({"a": entry("F32", 1, [0, 4])}),
        "negative dimension": file({"a": entry("F32", [-1], [0, 4])}),
        "dimension with a point": file(b'{"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}}'),
        "dimension with an exponent": file(b'{"a":{"dtype":"F32","shape":[1e0],"data_offsets":[0,4]}}'),
        "dimension minus zero": file(b'{"a":{"dtype":"F32","shape":[-0],"data_offsets":[0,0]}}', 0),
        "dimension true": file({"a": entry("F32", [True], [0, 4])}),
        "dimension a text": file({"a": entry("F32", ["1"], [0, 4])}),
        "dimension NaN": file(b'{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,4]}}'),
        "dimension of 2^63": file({"a": entry("F32", [2**63], [0, 4])}),
        "dimension of 2^64": file({"a": entry("F32", [2**64], [0, 4])}),
        "product over 2^64 that wraps to 1": file({"a": entry("F32", [2**32, 2**32], [0, 0])}, 0),
        "product over 2^64 with a zero": file({"a": entry("F32", [2**40, 2**40, 0], [0, 0])}, 0),
        "zero in front of a product over 2^64": file({"a": entry("F32", [0, 2**40, 2**40], [0, 0])}, 0),
        "scalar": file({"a": entry("F32", [], [0, 4])}),
        "empty tensor": file({"a": entry("F32", [0], [0, 0])}, 0),
        "empty tensor between": file({"a": ONE, "b": entry("F32", [0], [4, 4]), "c": entry("F32", [1], [4, 8])}, 8),
        "empty tensor behind the end": file({"a": ONE, "b": entry("F32", [0], [8, 8])}),
        "offsets of one": file({"a": entry("F32", [1], [0])}),
        "offsets of three": file({"a": entry("F32", [1], [0, 4, 8])}),
        "offsets the wrong way": file({"a": entry("F32", [1], [4, 0])}),
        "offsets with a fraction": file({"a": entry("F32", [1], [0.5, 4.5])}, 8),
        "offsets negative": file({"a": entry("F32", [1], [-4, 0])}),
        "offsets past the end": file({"a": entry("F32", [2], [0, 8])}),
        "offsets that do not fit": file({"a": entry("F32", [2], [0, 4])}),
        "overlap": file({"a": ONE, "b": entry("F32", [1], [2, 6])}, 6),
        "same place": file({"a": ONE, "b": ONE}),
        "hole in front": file({"a": entry("F32", [1], [4, 8])}, 8),
        "hole between": file({"a": ONE, "b": entry("F32", [1], [8, 12])}, 12),
        "bytes left over": file({"a": ONE}, 8),
        "other order": file({"b": entry("F32", [1], [4, 8]), "a": ONE}, 8),
        "not aligned": file({"a": entry("U8", [1], [0, 1]), "b": entry("F32", [1], [1, 5])}, 5),
        "shorter than a length": b"abc",
        "no byte": b"",
        "header of nothing": file(b"", 0),
        "header of spaces": file(b"    ", 0),
        "header cut": file(b'{"a":', 0, 500),
        "header of 100 MB and one": file(b"{}", 0, 100_000_001),
        "header of 2^63": file(b"{}", 0, 2**63),
        "a list": file([1], 0),
        "a text": file(b'"x"', 0),
        "null": file(b"null", 0),
        "no JSON": file(b"{nope}", 0),
        "comma at the end": file(b'{"a":' + head(ONE) + b",}"),
        "tab in a name": file(b'{"a\tb":' + head(ONE) + b"}"),
        "escaped tab in a name": file({"a\tb": ONE}),
        **{f"dtype {name}": file({"a": entry(name, [2], [0, bits // 4])}, bits // 4) for name, bits in WIDTHS.items()},
    }


WIDTHS = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64, "F16": 16, "BF16": 16,
    "F32": 32, "F64": 64, "C64": 64, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "F4": 4,
    "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip


def verdict(content: bytes, place: str) -> dict[str, object]:
    with open(place, "wb") as f:
        f.write(content)
    try:
        with safe_open(place, framework="np") as opened:
            return {"names": sorted(opened.keys()), "metadata": opened.metadata()}
    except (SafetensorError, OSError, ValueError) as refused:
        return {"refused": str(refused)}


def make() -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as path:
        golden = {
            name: {"file": base64.b64encode(content).decode(), **verdict(content, f"{path}/x.safetensors")}
            for name, content in cases().items()
        }
    PATH.write_text(json.dumps({"maker": "safetensors_verdicts.py", "cases": golden}, indent=1) + "\n")


MAKERS = {"formats/safetensors-verdicts": make}
