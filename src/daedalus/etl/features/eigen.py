"""The first eigenvector of a small symmetric matrix, by Jacobi's rotations: the same to the bit on every run."""

import math

import numpy as np

from daedalus.etl.features.base import F64
from daedalus.etl.features.jit import kernel

_SWEEPS_MAX = 60
#: Below this share of the largest eigenvalue, the gap to the second says nothing: the direction is undefined.
_GAP_MIN = 1e-12


@kernel
def first_eigenvector(matrix: F64, into: F64) -> None:
    """Write the eigenvector of the largest eigenvalue, of length 1 and with a sum that is not below 0.

    NaN when the matrix is not finite, has no eigenvalue above 0, or the largest one is double.

    Parameters
    ----------
    matrix
        [n, n], symmetric; is used up.
    """
    n = len(matrix)
    into[:] = math.nan
    scale = np.max(np.abs(matrix))
    if not 0.0 < scale < math.inf:
        return
    matrix /= scale
    vectors = np.eye(n)
    for _ in range(_SWEEPS_MAX):
        if not _sweep(matrix, vectors):
            break
    best = 0
    for k in range(1, n):
        if matrix[k, k] > matrix[best, best]:
            best = k
    largest = matrix[best, best]
    for k in range(n):
        if k != best and largest - matrix[k, k] <= _GAP_MIN * largest:
            return
    if largest > 0.0:
        sign = -1.0 if vectors[:, best].sum() < 0.0 else 1.0
        into[:] = sign * vectors[:, best]


@kernel
def _sweep(a: F64, v: F64) -> bool:
    """Rotate every pair of axes once; return whether anything off the diagonal still counted."""
    turned = False
    for p in range(len(a) - 1):
        for q in range(p + 1, len(a)):
            small = abs(a[p, q])
            if small == 0.0 or (abs(a[p, p]) + small == abs(a[p, p]) and abs(a[q, q]) + small == abs(a[q, q])):
                a[p, q] = a[q, p] = 0.0
                continue
            turned = True
            theta = (a[q, q] - a[p, p]) / (2.0 * a[p, q])
            t = math.copysign(1.0, theta) / (abs(theta) + math.sqrt(theta * theta + 1.0))
            c = 1.0 / math.sqrt(t * t + 1.0)
            s = t * c
            for k in range(len(a)):
                a[k, p], a[k, q] = c * a[k, p] - s * a[k, q], s * a[k, p] + c * a[k, q]
            for k in range(len(a)):
                a[p, k], a[q, k] = c * a[p, k] - s * a[q, k], s * a[p, k] + c * a[q, k]
                v[k, p], v[k, q] = c * v[k, p] - s * v[k, q], s * v[k, p] + c * v[k, q]
            a[p, q] = a[q, p] = 0.0
    return turned
