-- How many seals were made, under a keyed hash of its own: the newest seals cannot go unseen, which no other seal follows. One row.
CREATE TABLE seal_count (
    place {int} NOT NULL PRIMARY KEY,
    seals {int} NOT NULL,
    -- Version of the master key that the hash was made with; 0 while no seal has been made.
    key_version {int} NOT NULL,
    hash {bytes} NOT NULL,
    CHECK (place = 1 AND seals >= 0)
) {hot};
-- Seals of before were not counted, and a count that starts with them could be made to start again: all are made anew, from the first
-- entry on. Under another name: a process of before that still runs would add seals that nobody counts, and fails instead.
CREATE TABLE counted_seals (
    account_id {uuid} NOT NULL,
    after_version {int} NOT NULL,
    version {int} NOT NULL,
    -- Version of the master key that it was made with.
    key_version {int} NOT NULL,
    hash {bytes} NOT NULL,
    sealed_at {time} NOT NULL,
    PRIMARY KEY (account_id, after_version),
    CHECK (after_version < version)
) {strict};
DROP TABLE seals;
-- postgres:
INSERT INTO seal_count (place, seals, key_version, hash) VALUES (1, 0, 0, ''::BYTEA);
-- end
-- sqlite:
INSERT INTO seal_count (place, seals, key_version, hash) VALUES (1, 0, 0, x'');
-- end
