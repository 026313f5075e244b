-- What members share of what is limited, by the hash of program, what is counted and when the period began. A row is locked, after the
-- accounts and the catalogue, by every batch that may count there: the counts are exact.
CREATE TABLE counters (
    counter_key {uuid} NOT NULL PRIMARY KEY,
    program {key} NOT NULL,
    -- "promotion:double-tuesday", or "limit:per-till/" and the terminal.
    counted {key} NOT NULL,
    -- Microseconds, also of a period without a beginning.
    since {int} NOT NULL,
    until {int},
    times {int} NOT NULL,
    points {int} NOT NULL,
    -- Counts the changes.
    version {int} NOT NULL,
    CHECK (0 <= times AND 0 <= points)
) {hot};
