"""Read pickles of data sets and hand models without running anything they name.

A pickle is a program: it may call any importable function with any arguments. Here each of the
few names that data need stands for a builder of our own, which checks what it is given; every
other name is refused before anything is imported. Not even numpy's own unpickling is trusted: an
array type with forged flags would let it read raw bytes as object pointers.
"""

import io
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from handbench.errors import DataError

PLAIN_KINDS = "biufcSU"  # numbers, truth values and fixed-length strings
MOST_EMPTY = 1 << 20  # items of no width cost no bytes in the file, but time
ATOMS = (type(None), bool, int, float, complex, str, bytes, bytearray, np.generic)


def load_pickle(path: str | Path, allow_chumpy: bool = False) -> Any:
    """The content of a pickle file of protocol 0 to 5, from Python 2 or 3: plain data only.

    Dicts, lists, tuples, sets, strings, numbers, numpy arrays of plain types or of such objects,
    scipy's compressed sparse matrices. Python 2 strings are read as latin-1. With allow_chumpy,
    chumpy arrays (as in MANO's files) become numpy arrays; chumpy itself is not needed.
    Raises DataError when the file is missing, cut short, or names anything else.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path} does not exist")
    return parse_pickle(path.read_bytes(), str(path), allow_chumpy)


def parse_pickle(content: bytes, where: str, allow_chumpy: bool = False) -> Any:
    """As load_pickle for bytes in memory; where names them in errors."""
    reader = _Unpickler(io.BytesIO(content), where, allow_chumpy)
    try:
        return _finish(reader.load(), {}, where)
    except DataError:
        raise
    except (EOFError, pickle.UnpicklingError) as error:
        raise DataError(
            f"{where} is not a readable pickle ({error}): was it cut short? Fetch it again"
        ) from error
    except Exception as error:  # a hostile program of opcodes can fail in any way
        what = f"{type(error).__name__}: {error}"
        raise DataError(f"{where} is not a sound pickle ({what}): fetch it again") from error


class _Sealed(type):
    """Classes that a pickle cannot write attributes to."""

    def __setattr__(cls, name: str, value: Any) -> None:
        raise pickle.UnpicklingError(f"the file tries to change {cls.__name__}.{name}")


class _Builder:
    """A function that a pickle may call, sealed against being changed by it."""

    __slots__ = ("function",)

    def __init__(self, function: Callable) -> None:
        self.function = function

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("the file tries to change a function")


class _Dtype(metaclass=_Sealed):
    """The type of an array: a plain kind and a byte order, nothing else of numpy's state."""

    def __init__(self, code: str, align: Any = False, copy: Any = True) -> None:
        if not isinstance(code, str):
            raise pickle.UnpicklingError("an array type that is not named by a string")
        # Python 2 wrote objects as O8
        self.dtype = np.dtype("O" if code.startswith("O") else code)
        if self.dtype.kind not in PLAIN_KINDS + "O" or self.dtype.names:
            raise pickle.UnpicklingError(f"arrays of type '{code}' are not read")

    def __setstate__(self, state: tuple) -> None:
        order, *structure = state[1:5]
        if structure != [None, None, None]:
            raise pickle.UnpicklingError("structured arrays are not read")
        if order in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(order)


class _Array(metaclass=_Sealed):
    """An array under construction: its state arrives after it has been made."""

    __hash__ = None  # type: ignore[assignment]

    def __setstate__(self, state: tuple) -> None:
        _, self.shape, self.dtype, self.fortran, self.content = state

    def finish(self, seen: dict, where: str) -> Any:
        content = self.content
        if self.dtype.dtype.kind == "O":
            if not isinstance(content, list) or len(content) != math.prod(self.shape):
                raise pickle.UnpicklingError("an object array that does not fit its shape")
            array = np.empty(len(content), object)
            for i, item in enumerate(content):
                array[i] = _finish(item, seen, where)
            return array.reshape(self.shape, order="F" if self.fortran else "C")
        return _from_buffer(content, self.dtype, self.shape, "F" if self.fortran else "C")


class _State(metaclass=_Sealed):
    """Keeps the attributes of an object whose class is not ours to run."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise pickle.UnpicklingError("an object whose state is no dict")
        self.state = dict(state)

    def finish(self, seen: dict, where: str) -> Any:
        raise pickle.UnpicklingError("an object of no known class")

    def part(self, name: str, seen: dict, where: str) -> Any:
        if name not in self.state:
            raise pickle.UnpicklingError(f"an object without its '{name}'")
        return _finish(self.state[name], seen, where)


class _Sparse(_State):
    """scipy.sparse.csc_matrix."""

    layout = "csc_matrix"

    def finish(self, seen: dict, where: str) -> Any:
        from scipy import sparse

        names = ("data", "indices", "indptr", "_shape")
        data, indices, start, shape = (self.part(name, seen, where) for name in names)
        matrix = getattr(sparse, self.layout)((data, indices, start), shape=shape)
        # scipy's compiled code trusts the indices: a forged one would write out of bounds
        matrix.check_format(full_check=True)
        return matrix


class _SparseRows(_Sparse):
    """scipy.sparse.csr_matrix."""

    layout = "csr_matrix"


class _Chumpy(_State):
    """A chumpy expression: a leaf `Ch` holds its values in x, `Select` picks entries of a."""

    def __new__(cls, *args: Any) -> "_Chumpy":
        return super().__new__(cls)

    def __init__(self, *args: Any) -> None:
        super().__init__()

    def finish(self, seen: dict, where: str) -> Any:
        if not {"a", "idxs"} <= self.state.keys():
            return np.asarray(self.part("x", seen, where))
        picked = np.asarray(self.part("a", seen, where)).ravel()[self.part("idxs", seen, where)]
        shape = self.state.get("preferred_shape")
        return picked if shape is None else picked.reshape(_finish(shape, seen, where))


def _from_buffer(content: Any, dtype: Any, shape: Any, order: str = "C") -> np.ndarray:
    if not isinstance(dtype, _Dtype) or dtype.dtype.kind == "O":
        raise pickle.UnpicklingError("an array of bytes without a plain type")
    if not dtype.dtype.itemsize and math.prod(shape) > MOST_EMPTY:
        raise pickle.UnpicklingError("an array of endlessly many items of no width")
    raw = content.encode("latin1") if isinstance(content, str) else bytes(content)
    if len(raw) != math.prod(shape) * dtype.dtype.itemsize:
        raise pickle.UnpicklingError("an array whose bytes do not fit its shape")
    # the constructor, unlike frombuffer, also takes items of no width
    return np.ndarray(shape, dtype.dtype, raw, order=order).copy(order="K")  # type: ignore


def _new_array(kind: Any, shape: Any, code: Any) -> _Array:
    if kind is not _Array:
        raise pickle.UnpicklingError("an array of a foreign class")
    return _Array()


def _new_object(kind: Any, base: Any, state: Any) -> _State:
    if not (isinstance(kind, type) and issubclass(kind, _State)) or base is not _State or state:
        raise pickle.UnpicklingError("an object of a foreign class")
    return kind()


def _encode(text: str, encoding: str = "latin1") -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"bytes written in '{encoding}'")
    return text.encode("latin1")


def _core(name: str, builder: Any, *modules: str) -> dict[tuple[str, str], Any]:
    return {(f"numpy.{core}.{m}", name): builder for core in ("core", "_core") for m in modules}


def _python(name: str, builder: Any) -> dict[tuple[str, str], Any]:
    return {(module, name): builder for module in ("builtins", "__builtin__")}


ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    **_core("_reconstruct", _Builder(_new_array), "multiarray"),
    **_core("scalar", _Builder(lambda d, raw: _from_buffer(raw, d, ())[()]), "multiarray"),
    **_core("_frombuffer", _Builder(_from_buffer), "numeric"),
    **{("scipy.sparse" + m, "csc_matrix"): _Sparse for m in ("", ".csc", "._csc")},
    **{("scipy.sparse" + m, "csr_matrix"): _SparseRows for m in ("", ".csr", "._csr")},
    ("_codecs", "encode"): _Builder(_encode),
    **{(m, "_reconstructor"): _Builder(_new_object) for m in ("copyreg", "copy_reg")},
    **_python("object", _State),
    **{k: v for kind in (set, frozenset, list) for k, v in _python(kind.__name__, kind).items()},
    **_python("bytes", _Builder(lambda: b"")),
    **_python("bytearray", _Builder(lambda raw=b"": bytearray(raw))),
    **_python("complex", _Builder(lambda real, imaginary: complex(real, imaginary))),
    ("collections", "OrderedDict"): _Builder(lambda pairs=(): dict(pairs)),
}


class _Unpickler(pickle._Unpickler):
    """Python's own form: the compiled one makes room for any place in memory that a file names."""

    def __init__(self, file: io.BytesIO, where: str, allow_chumpy: bool) -> None:
        super().__init__(file, encoding="latin1")
        self.where = where
        self.allow_chumpy = allow_chumpy

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in ALLOWED:
            return ALLOWED[module, name]
        if self.allow_chumpy and module.split(".")[0] == "chumpy" and "." not in name:
            return _Chumpy
        raise DataError(
            f"{self.where} asks for {module}.{name}, which is not plain data: refused, nothing "
            "was run; a file from the data set's own site does not ask for this"
        )


def _finish(value: Any, seen: dict[int, Any], where: str) -> Any:
    """value with every array under construction built; lists and dicts change in place."""
    if isinstance(value, ATOMS):
        return value
    if id(value) in seen:
        return seen[id(value)][1]
    built: Any = value
    seen[id(value)] = value, built  # keeps value alive, so its id stays its own
    if isinstance(value, dict):
        pairs = [(_finish(k, seen, where), _finish(v, seen, where)) for k, v in value.items()]
        value.update(pairs)
    elif isinstance(value, list):
        value[:] = [_finish(item, seen, where) for item in value]
    elif isinstance(value, tuple):
        built = tuple(_finish(item, seen, where) for item in value)
    elif isinstance(value, set | frozenset):
        built = type(value)(_finish(item, seen, where) for item in value)
    elif isinstance(value, _Array | _State):
        built = value.finish(seen, where)
    elif not isinstance(value, np.ndarray):
        raise DataError(f"{where} holds a {type(value).__name__}, which is not plain data")
    seen[id(value)] = value, built
    return built
