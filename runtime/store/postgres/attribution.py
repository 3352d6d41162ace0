"""Which ranking an interaction answers."""

from runtime.store.attribution import CLOCK_GRAIN_US, EXPOSURES_LOOKED_AT

# Of an event e (ranking_id, shown, "user", time_us): the sequence of the exposure that it names, or of the last that
# showed its content among the user's last few; NULL where there is none.
ANSWERED = f"""CASE WHEN ranking_id IS NOT NULL
    THEN (SELECT x.sequence FROM exposures x WHERE x.ranking_id = e.ranking_id AND x."user" = e."user")
    ELSE (SELECT last.sequence FROM (
            SELECT x.sequence, x.time_us, x.items FROM exposures x WHERE x."user" = e."user"
            ORDER BY x.sequence DESC LIMIT {EXPOSURES_LOOKED_AT}) last
        WHERE position(shown IN last.items) > 0 AND last.time_us <= e.time_us + {CLOCK_GRAIN_US}
        ORDER BY last.sequence DESC LIMIT 1) END"""
