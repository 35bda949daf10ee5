"""The rows of the table, in its order."""

from . import growth, hg, lookups, memory, moving, remembered, reports, start, sweep

ROWS = {
    row.name: row
    for module in (lookups, reports, growth, sweep, start, memory, moving, hg, remembered)
    for row in module.ROWS
}
