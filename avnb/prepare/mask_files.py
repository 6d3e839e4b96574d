"""Masks of objects: pictures, numpy files, and pickled arrays, which are read without running anything in them."""

import pickletools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Shaped

from avnb.data.media_files import read_mask_picture, why_unusable
from avnb.errors import DataError

INSTRUCTIONS = 10_000  # of a pickle; an array takes fifty
LARGEST = 64 * 2**20  # bytes of a mask file
SURE = 0.9  # of the border that one colour takes, to be the background
UNSURE = 0.02  # of the pixels that may be neither black nor white where compression blurs edges
MASKS = frozenset([".png", ".npy", ".pkl", ".pickle"])
# numpy's names for the few things an array is pickled with, in its versions 1 and 2.
_RECONSTRUCT = {"numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct"}
_FROM_BUFFER = {"numpy.core.numeric _frombuffer", "numpy._core.numeric _frombuffer"}
_ENCODE = {"_codecs encode"}
_KNOWN = _RECONSTRUCT | _FROM_BUFFER | _ENCODE | {"numpy ndarray", "numpy dtype"}
_PLAIN = frozenset(["b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"])


class EmptyMask(DataError):
    """A mask in which nothing is marked: a broken one, or of a frame in which nothing sounds."""


def read_mask_file(path: Path) -> Bool[np.ndarray, "height width"]:
    """Read where an object is; raise DataError where the file is no mask, EmptyMask where it marks nothing."""
    try:
        if why := why_unusable(path):
            raise DataError(f"mask {path.name} {why}")
        if path.stat().st_size > LARGEST:
            raise DataError(f"mask {path.name} is larger than {LARGEST // 2**20} MB")
        if path.suffix == ".png":
            mask = _object_in(path)
        elif path.suffix == ".npy":
            mask = np.load(path, allow_pickle=False)
        else:
            mask = unpickle_array(path.read_bytes())
    except DataError:
        raise
    except Exception as error:  # Pillow and numpy raise many types on damaged files
        raise DataError(f"mask {path.name} cannot be read ({type(error).__name__}: {error})") from None
    if mask.ndim != 2 or mask.dtype.kind not in "biuf":
        raise DataError(f"mask {path.name} has shape {mask.shape} of {mask.dtype}, not height x width of numbers")
    found = mask > 0
    if not found.any():
        raise EmptyMask(f"mask {path.name} is empty")
    return found


def _object_in(path: Path) -> Bool[np.ndarray, "height width"]:
    """Return where a picture shows the object: what is not transparent, else what is not black or not number 0.

    Raises DataError where it does not say which of its colours is the object.
    """
    try:
        image = read_mask_picture(path)
    except DataError as error:
        raise DataError(f"mask {path.name} {error}") from None
    if image.has_transparency_data:
        opaque = np.asarray(image.convert("RGBA"))[..., 3] > 127
        if not opaque.all():
            return opaque
    if image.mode == "P":
        return _object_of_palette(path, image)
    if image.mode.startswith(("I", "F")):
        return np.asarray(image) > 0
    bright = np.asarray(image.convert("RGB")).max(axis=2)
    if not image.info["lossy"]:
        return bright > 0
    if np.mean((bright > 32) & (bright < 224)) > UNSURE:
        raise DataError(f"mask {path.name} is compressed with loss and not black and white; save it as a PNG")
    return bright > 127


def _object_of_palette(path: Path, image: Any) -> Bool[np.ndarray, "height width"]:
    """Return what is not number 0. Where the colours say otherwise, what lies along the border is the background."""
    numbers, bright = np.asarray(image), np.asarray(image.convert("RGB")).max(axis=2)
    if ((numbers > 0) == (bright > 0)).all():
        return numbers > 0
    border = np.concatenate([numbers[0], numbers[-1], numbers[:, 0], numbers[:, -1]])
    background = np.bincount(border).argmax()
    if np.mean(border == background) < SURE:
        raise DataError(f"mask {path.name} has a palette that does not tell the object; save it in black and white")
    return numbers != background


@dataclass
class _Name:
    """A name in a pickle: it is compared, never imported."""

    name: str


@dataclass
class _Array:
    """An array in the making."""

    shape: tuple = ()
    dtype: Any = None
    data: bytes = b""
    order: str = "C"


@dataclass
class _Type:
    """A dtype in the making."""

    code: str
    byte_order: str = "|"


class _Mark:
    """Where a tuple begins."""


def unpickle_array(data: bytes) -> Shaped[np.ndarray, "..."]:
    """Return the numeric array that a pickle (protocols 0 to 5) holds; nothing of it is ever called or imported.

    The pickle's instructions are read one by one; those an array of numbers is written with are understood, any
    other raises DataError.

    >>> import pickle
    >>> unpickle_array(pickle.dumps(np.eye(2, dtype=np.uint8)))
    array([[1, 0],
           [0, 1]], dtype=uint8)
    """
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    try:
        for number, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            if opcode.name == "STOP":
                break
            if number == INSTRUCTIONS:
                raise DataError(f"not a pickled array (it has more than {INSTRUCTIONS:,} instructions)")
            _step(opcode.name, argument, stack, memo)
        (found,) = stack
        return _finish(found)
    except DataError:
        raise
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, MemoryError) as error:
        raise DataError(f"not a pickled array ({type(error).__name__}: {error})") from None


def _step(name: str, argument: Any, stack: list[Any], memo: dict[int, Any]) -> None:
    """Understand one instruction of the pickle machine, as far as arrays need it."""
    match name:
        case "PROTO" | "FRAME":
            pass
        case "GLOBAL":
            stack.append(_named(argument))
        case "STACK_GLOBAL":
            attribute, module = stack.pop(), stack.pop()
            stack.append(_named(f"{module} {attribute}"))
        case "NONE":
            stack.append(None)
        case "NEWTRUE":
            stack.append(True)
        case "NEWFALSE":
            stack.append(False)
        case "EMPTY_TUPLE":
            stack.append(())
        case "MARK":
            stack.append(_Mark)
        case "TUPLE":
            start = len(stack) - 1 - stack[::-1].index(_Mark)
            stack[start:] = [tuple(stack[start + 1 :])]
        case "TUPLE1" | "TUPLE2" | "TUPLE3":
            size = int(name[-1])
            stack[-size:] = [tuple(stack[-size:])]
        case "PUT" | "BINPUT" | "LONG_BINPUT":
            memo[argument] = stack[-1]
        case "MEMOIZE":
            memo[len(memo)] = stack[-1]
        case "GET" | "BINGET" | "LONG_BINGET":
            stack.append(memo[argument])
        case "POP":
            stack.pop()
        case "REDUCE":
            arguments, what = stack.pop(), stack.pop()
            stack.append(_reduced(what, arguments))
        case "BUILD":
            state = stack.pop()
            _build(stack[-1], state)
        case _ if argument is not None and isinstance(argument, (bool, int, str, bytes, bytearray)):
            stack.append(argument)  # every way to write a number, a text or bytes
        case _:
            raise DataError(f"not a pickled array (it holds the instruction {name})")


def _named(name: str) -> _Name:
    if name not in _KNOWN:
        raise DataError(f"not a pickled array: it asks for {name.replace(' ', '.')!r}, which is not run")
    return _Name(name)


def _reduced(what: Any, arguments: Any) -> Any:
    """Stand for the few calls an array is written with, without making them."""
    if not isinstance(what, _Name) or not isinstance(arguments, tuple):
        raise DataError("not a pickled array (it calls something that is no name)")
    if what.name in _RECONSTRUCT:
        return _Array()
    if what.name in _FROM_BUFFER:
        data, kind, shape, order = arguments
        return _Array(shape, kind, bytes(data), order)
    if what.name in _ENCODE:
        text, encoding = arguments
        if encoding != "latin1":
            raise DataError(f"not a pickled array (bytes written as {encoding!r})")
        return text.encode("latin1")
    if what.name == "numpy dtype":
        return _Type(arguments[0] if isinstance(arguments[0], str) else "")
    raise DataError(f"not a pickled array (it calls {what.name})")


def _build(what: Any, state: Any) -> None:
    if isinstance(what, _Type):
        what.byte_order = state[1]
    elif isinstance(what, _Array):
        _, what.shape, what.dtype, fortran, what.data = state
        what.order = "F" if fortran else "C"
        if isinstance(what.data, str):  # pickles of Python 2
            what.data = what.data.encode("latin1")
    else:
        raise DataError("not a pickled array (it sets the state of something else)")


def _finish(found: Any) -> np.ndarray:
    if not isinstance(found, _Array) or not isinstance(found.dtype, _Type) or found.dtype.code not in _PLAIN:
        raise DataError("not a pickled array of numbers")
    order = found.dtype.byte_order if found.dtype.byte_order in ("<", ">") else "="
    values = np.frombuffer(found.data, np.dtype(found.dtype.code).newbyteorder(order))
    return values.reshape(found.shape, order="F" if found.order == "F" else "C")
