-- A version may be a draft, which holds from no moment, and may be given up before it holds. Those that hold, or were to, are counted in the
-- order in which they were scheduled: of two that are scheduled at once one gets the next number.
-- postgres:
ALTER TABLE program_versions ALTER COLUMN start_at DROP NOT NULL;
ALTER TABLE program_versions ADD COLUMN ordinal BIGINT;
ALTER TABLE program_versions ADD COLUMN scheduled_at TIMESTAMPTZ;
ALTER TABLE program_versions ADD COLUMN scheduled_by TEXT COLLATE "C";
ALTER TABLE program_versions ADD COLUMN retired_at TIMESTAMPTZ;
ALTER TABLE program_versions ADD COLUMN retired_by TEXT COLLATE "C";
ALTER TABLE program_versions ADD COLUMN restored BIGINT;
UPDATE program_versions SET ordinal = number, scheduled_at = created_at, scheduled_by = author;
-- end
-- sqlite:
CREATE TABLE new_program_versions (
    program TEXT NOT NULL,
    number INTEGER NOT NULL,
    start_at INTEGER,
    created_at INTEGER NOT NULL,
    author TEXT NOT NULL,
    terms BLOB NOT NULL,
    ordinal INTEGER,
    scheduled_at INTEGER,
    scheduled_by TEXT,
    retired_at INTEGER,
    retired_by TEXT,
    restored INTEGER,
    PRIMARY KEY (program, number)
) STRICT;
INSERT INTO new_program_versions (program, number, start_at, created_at, author, terms, ordinal, scheduled_at, scheduled_by)
    SELECT program, number, start_at, created_at, author, terms, number, created_at, author FROM program_versions;
DROP TABLE program_versions;
ALTER TABLE new_program_versions RENAME TO program_versions;
-- end

CREATE UNIQUE INDEX program_versions_in_order ON program_versions (program, ordinal);
