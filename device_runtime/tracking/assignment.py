"""Who belongs to whom: the matching of two groups with the largest gain."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Gains = npt.NDArray[np.float64]
Pairs = list[tuple[int, int]]


def assign(gains: Gains) -> Pairs:
    """Pair rows with columns, each at most once, so that the sum of the gains is the largest possible.

    Only pairs with a gain above 0 are made, so that nobody is paired for the sake of being paired. Rows and columns
    that compete, directly or through others, are solved together and apart from all others; few do, and whoever has
    one possible partner who has no other is paired at once.

    Args:
        gains: (n, m), finite.

    Returns:
        (row, column) by rising row.
    """
    possible = gains > 0
    rows, columns = np.nonzero(possible)
    if not len(rows):
        return []
    choices, rivals = possible.sum(axis=1), possible.sum(axis=0)
    alone = (choices[rows] == 1) & (rivals[columns] == 1)
    pairs = list(zip(rows[alone].tolist(), columns[alone].tolist(), strict=True))
    if not alone.all():
        for some_rows, some_columns in _competing(rows[~alone].tolist(), columns[~alone].tolist()):
            part = np.maximum(gains[np.ix_(some_rows, some_columns)], 0.0)
            pairs += [(some_rows[row], some_columns[column]) for row, column in _solve(part) if part[row, column] > 0]
    return sorted(pairs)


def _competing(rows: list[int], columns: list[int]) -> list[tuple[list[int], list[int]]]:
    """Return the connected parts of the graph with these edges: for each, its rows and its columns, both sorted."""
    at_row: dict[int, list[int]] = {}
    at_column: dict[int, list[int]] = {}
    for row, column in zip(rows, columns, strict=True):
        at_row.setdefault(row, []).append(column)
        at_column.setdefault(column, []).append(row)
    parts = []
    while at_row:
        some_rows: set[int] = set()
        some_columns: set[int] = set()
        waiting = [next(iter(at_row))]
        while waiting:
            row = waiting.pop()
            some_rows.add(row)
            for column in at_row.pop(row, ()):
                if column not in some_columns:
                    some_columns.add(column)
                    waiting += [other for other in at_column[column] if other not in some_rows]
        parts.append((sorted(some_rows), sorted(some_columns)))
    return parts


def _solve(gains: Gains) -> Pairs:
    """Solve the assignment problem by shortest augmenting paths with potentials.

    That is the Hungarian method as Jonker and Volgenant speed it up (Computing 38, 1987, section 2.3), without their
    initialisation: parts are small. Row after row is added; a path of least reduced cost to a free column is grown as
    in Dijkstra's algorithm, and swaps partners along it. O(n² m) for n rows and m >= n columns.
    """
    if gains.shape[0] > gains.shape[1]:
        return [(row, column) for column, row in _solve(gains.T)]
    count, width = gains.shape
    of_row = np.zeros(count)
    of_column = np.zeros(width)
    partner = np.full(width, -1)
    for start in range(count):
        shortest = np.full(width, np.inf)
        came_from = np.full(width, -1)
        done = np.zeros(width, bool)
        row, column, length = start, -1, 0.0
        reached = [(start, 0.0)]
        while True:
            through = length - gains[row] - of_row[row] - of_column
            better = ~done & (through < shortest)
            shortest[better] = through[better]
            came_from[better] = column
            column = int(np.argmin(np.where(done, np.inf, shortest)))
            length = float(shortest[column])
            if partner[column] < 0:
                break
            done[column] = True
            row = int(partner[column])
            reached.append((row, length))
        for row, passed in reached:
            of_row[row] += length - passed
        of_column[done] -= length - shortest[done]
        while column >= 0:
            before = int(came_from[column])
            partner[column] = start if before < 0 else partner[before]
            column = before
    return [(int(row), column) for column, row in enumerate(partner.tolist()) if row >= 0]
