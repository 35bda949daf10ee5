"""The rows of the table, in its order."""

from . import (
    agent,
    growth,
    hg,
    json_door,
    logins,
    lookups,
    memory,
    moving,
    postgresql,
    remembered,
    reports,
    snapshots,
    start,
    sweep,
    tls,
)

MODULES = (lookups, json_door, tls, logins, reports, growth, sweep, start, memory, moving, snapshots, postgresql, hg, remembered, agent)
ROWS = {row.name: row for module in MODULES for row in module.ROWS}
