import contextlib
import copyreg
import os
import pickle
import sys
import tracemalloc
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from handbench.errors import DataError
from handbench.pickles import load_pickle, parse_pickle

CONTENT = {
    "verts": np.arange(12.0).reshape(4, 3),
    "columns first": np.asfortranarray(np.arange(6, dtype=np.int32).reshape(2, 3)),
    "big endian": np.arange(3, dtype=">f4"),
    "flags": np.array([True, False]),
    "names": np.array(["index", "thumb"]),
    "bytes": np.array([b"a", b"bc"]),
    "objects": np.array([None, "x", np.ones(2)], dtype=object),
    "empty": np.empty((0, 3)),
    "scalar": np.float32(0.5),
    "sparse": sparse.csc_matrix(np.eye(3)),
    "rows": sparse.csr_matrix(np.diag([1.0, 0, 2])),
    "nested": [(1, 2.5, None), {"set": {1, 2}, "raw": b"\x00\xff", "wide": 2**70, "c": 1j}],
    "frozen": frozenset({("a", 1)}),
}


def python2(content: bytes) -> bytes:
    """The numpy and scipy names as files of Python 2's time have them."""
    return content.replace(b"numpy._core", b"numpy.core").replace(b"sparse._cs", b"sparse.cs")


def same(a, b) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple) or (isinstance(a, np.ndarray) and a.dtype == object):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if sparse.issparse(a):
        return a.format == b.format and same(a.toarray(), b.toarray())
    if isinstance(a, np.ndarray):
        return type(b) is np.ndarray and a.dtype == b.dtype and np.array_equal(a, b)
    return type(a) is type(b) and a == b


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_of_every_protocol(tmp_path, protocol):
    path = tmp_path / "data.pkl"
    path.write_bytes(pickle.dumps(CONTENT, protocol=protocol))
    assert same(CONTENT, load_pickle(path))
    if protocol < 3:
        path.write_bytes(python2(path.read_bytes()))
        assert same(CONTENT, load_pickle(path))


def test_array_as_python_2_wrote_it():
    raw = np.array([1.5, -2.0]).tobytes()
    content = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R"
        b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x10" + raw + b"tb."
    )
    assert same(np.array([1.5, -2.0]), parse_pickle(content, "x.pkl"))


def test_arrays_are_writable_shared_ones_stay_shared_and_cycles_close():
    array = np.arange(3.0)
    cycle = [array]
    cycle.append(cycle)
    out = parse_pickle(pickle.dumps({"a": array, "b": array, "c": cycle}), "x")
    out["a"][0] = 7
    assert out["b"][0] == 7
    assert out["c"][0] is out["a"]
    assert out["c"][1] is out["c"]


@pytest.fixture
def chumpy(monkeypatch):
    """Classes that pickle as chumpy 0.70's do: a dict of attributes by way of object's reduce."""
    modules = {
        name: types.ModuleType(name) for name in ("chumpy", "chumpy.ch", "chumpy.reordering")
    }
    for module, name in (("chumpy.ch", "Ch"), ("chumpy.reordering", "Select")):
        kind = type(name, (), {"__module__": module})
        setattr(modules[module], name, kind)
        setattr(modules["chumpy"], name, kind)
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    return modules["chumpy"]


def expression(kind, **attributes):
    out = kind()
    # the book-keeping a genuine file carries along
    out.__dict__ = {"_dirty_vars": set(), "_itr": None, "_status": "new", **attributes}
    return out


@pytest.mark.parametrize("protocol", range(5))
def test_chumpy_leaf_and_selection(chumpy, protocol):
    values = np.arange(24.0).reshape(2, 3, 4)
    leaf = expression(chumpy.Ch, x=values)
    picked = np.array([5, 1, 7, 23])
    content = {
        "leaf": leaf,
        "select": expression(chumpy.Select, a=leaf, idxs=picked, preferred_shape=(2, 2)),
        "flat": expression(chumpy.Select, a=leaf, idxs=picked, preferred_shape=None),
        "leaf of leaf": expression(chumpy.Ch, x=leaf),
    }
    written = pickle.dumps(content, protocol=protocol)
    written = python2(written) if protocol < 3 else written
    read = parse_pickle(written, "MANO.pkl", allow_chumpy=True)
    np.testing.assert_array_equal(read["leaf"], values)
    np.testing.assert_array_equal(read["leaf of leaf"], values)
    np.testing.assert_array_equal(read["select"], values.ravel()[picked].reshape(2, 2))
    np.testing.assert_array_equal(read["flat"], values.ravel()[picked])
    with pytest.raises(DataError, match=r"asks for chumpy\.ch\.Ch"):
        parse_pickle(written, "MANO.pkl")


def test_other_chumpy_expressions_are_refused(chumpy):
    unknown = expression(chumpy.Ch, a=1, b=2)
    with pytest.raises(DataError, match="without its 'x'"):
        parse_pickle(pickle.dumps(unknown, protocol=2), "MANO.pkl", allow_chumpy=True)


class Call:
    """Pickles as a call of function with these arguments when read, then as a setting of state."""

    def __init__(self, function, *args, state=None):
        self.call = function, args, state

    def __reduce__(self):
        return self.call


def test_calls_are_refused_by_name_and_not_made(tmp_path):
    marker = tmp_path / "was-here"
    statement = f"open({str(marker)!r}, 'w').close()"
    from numpy.testing import measure, rundocs

    hostile = {
        "posix.system": Call(os.system, f"touch {marker}"),
        "eval": Call(eval, statement),
        "exec": Call(exec, statement),
        "getattr": Call(getattr, "", "join"),
        "open": Call(open, str(marker), "w"),
        "load": Call(np.load, str(marker), None, True),
        "measure": Call(measure, statement),
        "rundocs": Call(rundocs, str(marker)),
    }
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        for name, call in hostile.items():
            for allow_chumpy in (False, True):
                with pytest.raises(DataError, match=f"asks for .*{name}, .*refused"):
                    parse_pickle(pickle.dumps(call, protocol), "x.pkl", allow_chumpy)
    assert not marker.exists()
    pickle.loads(pickle.dumps(hostile["eval"]))  # the attack itself works
    assert marker.exists()


def named(module: str, name: str) -> bytes:
    """Opcodes of protocol 4 that push a global whose name may hold dots."""
    out = b""
    for text in (module, name):
        out += b"\x8c" + bytes([len(text)]) + text.encode()
    return out + b"\x93"


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("numpy", "ndarray.tofile"),
        ("numpy", "dtype.__class__"),
        ("numpy", "load"),
        ("numpy.f2py", "compile"),
        ("numpy._core.multiarray", "_reconstruct.__globals__"),
        ("collections", "OrderedDict.__init__.__globals__"),
        ("chumpy.ch", "Ch.__init__.__globals__"),
        ("handbench.pickles", "np.load"),
        ("builtins", "set.__subclasses__"),
    ],
)
def test_attribute_chains_are_refused(module, name):
    content = b"\x80\x04" + named(module, name) + b"."
    with pytest.raises(DataError, match="refused"):
        parse_pickle(content, "x.pkl", allow_chumpy=True)


def test_arrays_of_foreign_classes_are_refused():
    with pytest.raises(DataError, match="asks for numpy.*matrix.*refused"):
        parse_pickle(pickle.dumps(np.zeros((1, 2)).view(np.matrix)), "x.pkl")
    with pytest.raises(DataError, match="foreign class"):
        parse_pickle(
            pickle.dumps(Call(np._core.multiarray._reconstruct, list, (0,), b"b")), "x.pkl"
        )


class ForgedType:
    def __init__(self, code, state):
        self.code, self.state = code, state

    def __reduce__(self):
        return np.dtype, (self.code, False, True), self.state


def forged(shape, dtype, content=b"\x10" * 8) -> Call:
    """An array whose pickled state is the given one."""
    state = 1, shape, dtype, False, content
    return Call(np._core.multiarray._reconstruct, np.ndarray, (0,), b"b", state=state)


@pytest.mark.parametrize(
    "array",
    [
        # objects whose type claims to hold none: numpy itself would take the bytes for pointers
        forged((1,), ForgedType("O", (3, "|", None, None, None, -1, -1, 0))),
        forged((1,), ForgedType("V8", (3, "|", None, ("a",), {"a": (np.dtype("O"), 0)}, 8, 1, 0))),
        forged((1,), ForgedType("f8", (3, "<", None, ("a",), {}, 8, 1, 63))),
        forged((9,), np.dtype("f8")),
        forged((-1, -1), np.dtype("f8")),
        forged((2**40,), np.dtype("O"), []),
        forged((2**40,), np.dtype("S0"), b""),  # no bytes, but hours
    ],
)
def test_forged_arrays_are_refused(array):
    with pytest.raises(DataError):
        parse_pickle(pickle.dumps(array, protocol=4), "x.pkl")


def test_sparse_matrix_with_indices_out_of_bounds_is_refused():
    matrix = sparse.csc_matrix(np.eye(3))
    matrix.indices = np.array([0, 1, 10**6], dtype=np.int32)
    with pytest.raises(DataError, match="indices"):
        parse_pickle(pickle.dumps(matrix), "x.pkl")


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("scipy.sparse", "csc_matrix"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy", "dtype"),
        ("chumpy.ch", "Ch"),
        ("builtins", "set"),
        ("builtins", "object"),
    ],
)
@pytest.mark.parametrize("slots", [False, True])
def test_state_of_a_named_thing_itself_cannot_be_set(module, name, slots):
    key = pickle.dumps({"__setstate__": "x", "__new__": "x", "function": 1}, protocol=4)[2:-1]
    state = b"N" + key + b"\x86" if slots else key
    content = b"\x80\x04" + named(module, name) + state + b"b."
    with pytest.raises(DataError):
        parse_pickle(content, "x.pkl", allow_chumpy=True)
    # the next file is read as before
    assert same(CONTENT, parse_pickle(pickle.dumps(CONTENT), "x.pkl"))


def test_hostile_state_does_not_reach_methods():
    matrix = sparse.csc_matrix(np.eye(3))
    matrix.__dict__["toarray"] = "not a function"
    read = parse_pickle(pickle.dumps(matrix), "x.pkl")
    np.testing.assert_array_equal(read.toarray(), np.eye(3))


def test_builders_left_in_the_data_are_refused():
    for module, name in (("numpy", "dtype"), ("_codecs", "encode"), ("builtins", "object")):
        with pytest.raises(DataError):
            parse_pickle(b"\x80\x04" + named(module, name) + b".", "x.pkl")


def test_persistent_and_registered_objects_are_refused():
    for content in (b"Pname\n.", b"\x80\x02\x82\x01."):
        with pytest.raises(DataError):
            parse_pickle(content, "x.pkl")
    assert not copyreg._inverted_registry


def test_a_place_in_memory_is_not_made_room_for():
    tracemalloc.start()
    try:
        assert parse_pickle(b"\x80\x02]r\xff\xff\xff\x00.", "x.pkl") == []  # place 16,777,215
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()


def test_missing_and_cut_files(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        load_pickle(tmp_path / "none.pkl")
    whole = pickle.dumps(CONTENT, protocol=2)
    path = tmp_path / "cut.pkl"
    for length in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"cut\.pkl"):
            load_pickle(path)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.data())
def test_damaged_bytes_give_data_or_one_error(data):
    content = bytearray(pickle.dumps(CONTENT, protocol=data.draw(st.sampled_from([0, 2, 4, 5]))))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(DataError):  # any other exception fails
        parse_pickle(bytes(content), "x.pkl", allow_chumpy=True)
