"""Reads the one text that a pickle holds, without unpickling: nothing of the data is ever called.

Some published data is pickled. `pickle` runs what the data names, so the operations are only listed here
(`pickletools`), and anything but a single text is refused.
"""

import base64
import binascii
import pickletools
import zlib

LARGEST = 2**28  # bytes of a text after decompression
_TEXTS = ("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8")
_AROUND = ("PROTO", "FRAME", "MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT", "STOP")


class NotText(ValueError):
    """The data is not a pickled text; the message is the reason."""


def pickled_text(data: bytes) -> str:
    """Return the text of a pickle that holds nothing else.

    Raises:
        NotText: if it holds anything else, or is damaged.
    """
    found: list[str] = []
    try:
        for operation, value, _ in pickletools.genops(data):
            if operation.name in _TEXTS and not found:
                found.append(str(value))
            elif operation.name not in _AROUND:
                raise NotText(f"the pickle contains more than text ({operation.name})")
    except NotText:
        raise
    except Exception as error:  # pickletools raises whatever the damage leads to
        raise NotText(f"not a complete pickle ({error})") from None
    if not found:
        raise NotText("the pickle contains no text")
    return found[0]


def packed_text(text: str) -> str:
    """Return the text that is pickled, compressed by zlib and written as base64, as LiveCodeBench has it.

    Raises:
        NotText: if it is something else, or larger than `LARGEST`.
    """
    try:
        stream = zlib.decompressobj()
        data = stream.decompress(base64.b64decode(text, validate=True), LARGEST)
    except (binascii.Error, zlib.error, ValueError) as error:
        raise NotText(f"not base64 of a zlib stream ({error})") from None
    if stream.unconsumed_tail:
        raise NotText(f"larger than {LARGEST:,} bytes")
    if not stream.eof:
        raise NotText("the zlib stream is incomplete")
    return pickled_text(data)
