"""Kernels called one after the other by a single native call, with arguments that stay where they are in memory.

Numba's dispatcher spends about 0.2 us on every array argument of every call; for one row at a time that is most of the
time. Here the calls of one row are recorded once, and repeated without it: the same machine code, the same memory.

What makes that safe. Numba's engine never frees code while the process lives, and a program holds on to the kernels
that it calls and to its own library. Whoever runs it keeps the recorded arguments. How Numba passes arguments is not
part of its public interface: a program is refused (`UnknownConventionError`) where what the compiler declares is not
what `table_of` writes, and rows are then computed the ordinary way.
"""

import ctypes
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import typeof
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target

from daedalus.etl.features.base import I64, AnyArray
from daedalus.etl.features.calls import Call

_INT64 = ir.IntType(64)
_FAILED = -1


class UnknownConventionError(Exception):
    """Numba passes arguments in a way that is not known here."""


class Program:
    """Machine code that makes a sequence of calls; their arguments come from a table, see `table_of`.

    Parameters
    ----------
    calls
        Calls that were made before, so that their kernels are compiled.

    Raises
    ------
    UnknownConventionError
        If kernels take their arguments in another form than `table_of` gives them.
    """

    @global_compiler_lock
    def __init__(self, calls: Sequence[Call]) -> None:
        context = cpu_target.target_context
        self._library = context.codegen().create_library("daedalus_program")
        module = context.create_module("daedalus_program")
        function = ir.Function(module, ir.FunctionType(_INT64, [_INT64.as_pointer()]), "daedalus_program")
        self._kernels = [_compiled(call) for call in calls]
        _write_body(function, self._kernels)
        self._library.add_ir_module(module)
        self._library.finalize()
        address = self._library.get_pointer_to_function("daedalus_program")
        self._run = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)(address)
        self._count = len(calls)

    def run(self, table: int) -> int:
        """Make the calls with the table at that address.

        Returns the position of the first call that did not return the number that was recorded, or how many there are.
        """
        done: int = self._run(table)
        if done == _FAILED:
            raise MemoryError("a feature kernel ran out of memory")
        return done


def table_of(calls: Sequence[Call]) -> I64:
    """Return the arguments as the program wants them: numbers and the addresses and shapes of arrays."""
    cells: list[int] = []
    for call in calls:
        for arg in call.args:
            cells += _cells(arg)
        if call.result is not None:
            cells.append(call.result)
    return np.array(cells, np.int64)


def signature_of(calls: Sequence[Call]) -> tuple[object, ...]:
    """Return what tells programs apart."""
    return tuple((call.function, *_kinds(call), call.result is None) for call in calls)


def _cells(arg: object) -> list[int]:
    if isinstance(arg, np.ndarray):
        array: AnyArray = arg
        # Numba's array: owner (none: the caller keeps it alive), parent, size, item size, data, shape, strides.
        return [0, 0, array.size, array.itemsize, array.ctypes.data, *array.shape, *array.strides]
    if isinstance(arg, float):
        return [int(np.float64(arg).view(np.int64))]
    if isinstance(arg, int):
        return [int(arg)]
    raise TypeError(f"a recorded kernel was given {type(arg).__name__}: only arrays and numbers can be")


def _kinds(call: Call) -> tuple[object, ...]:
    return tuple(typeof(arg) for arg in call.args)  # type: ignore[no-untyped-call]


class _Compiled(NamedTuple):
    address: int
    type: ir.FunctionType
    returns: bool
    # What owns the machine code.
    library: object


def _compiled(call: Call) -> _Compiled:
    try:
        result = call.function.overloads[_kinds(call)]  # type: ignore[attr-defined]
        address = result.library.get_pointer_to_function(result.fndesc.llvm_func_name)
        convention = cpu_target.target_context.call_conv
        kind = convention.get_function_type(result.fndesc.restype, result.fndesc.argtypes)
    except (AttributeError, KeyError) as error:
        raise UnknownConventionError(f"{call.function}: {error!r}") from error
    wanted = [_is_pointer(k) for k in kind.args[2:]]
    given = [is_pointer for arg in call.args for is_pointer in _pointers(arg)]
    if not address or wanted != given:
        raise UnknownConventionError(f"{call.function} takes {', '.join(str(k) for k in kind.args)}")
    return _Compiled(address, kind, call.result is not None, result.library)


def _is_pointer(kind: ir.Type) -> bool:
    return isinstance(kind, ir.PointerType)


def _pointers(arg: object) -> list[bool]:
    """Return which of an argument's cells are addresses."""
    if isinstance(arg, np.ndarray):
        return [True, True, False, False, True, *[False] * (2 * arg.ndim)]
    return [False]


def _write_body(function: ir.Function, kernels: Sequence[_Compiled]) -> None:
    builder, slot = ir.IRBuilder(function.append_basic_block()), 0
    (table,) = function.args

    def cell() -> ir.Value:
        nonlocal slot
        slot += 1
        return builder.load(builder.gep(table, [ir.Constant(_INT64, slot - 1)]))

    for number, kernel in enumerate(kernels):
        result_kind, error_kind, *kinds = kernel.type.args
        result, error = builder.alloca(result_kind.pointee), builder.alloca(error_kind.pointee)
        args = [_as(builder, cell(), kind) for kind in kinds]
        callee = builder.inttoptr(ir.Constant(_INT64, kernel.address), kernel.type.as_pointer())
        code = builder.call(callee, [result, error, *args])
        # Numba returns 0, or -2 for None; all else is an exception.
        failed = builder.and_(
            builder.icmp_signed("!=", code, ir.Constant(code.type, 0)),
            builder.icmp_signed("!=", code, ir.Constant(code.type, -2)),
        )
        with builder.if_then(failed, likely=False):
            builder.ret(ir.Constant(_INT64, _FAILED))
        if kernel.returns:
            other = builder.icmp_signed("!=", builder.load(result), cell())
            with builder.if_then(other, likely=False):
                builder.ret(ir.Constant(_INT64, number))
    builder.ret(ir.Constant(_INT64, len(kernels)))


def _as(builder: ir.IRBuilder, value: ir.Value, kind: ir.Type) -> ir.Value:
    """Return a cell of the table as an argument of that kind."""
    if isinstance(kind, ir.PointerType):
        return builder.inttoptr(value, kind)
    if isinstance(kind, ir.DoubleType):
        return builder.bitcast(value, kind)
    return value if kind == _INT64 else builder.trunc(value, kind)
