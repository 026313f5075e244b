-- The feed: events, numbered by the transactions that wrote them.

-- One row: tells cursors of this feed from those of another. A copy of the database keeps it, as it keeps the events.
CREATE TABLE feed (
    feed_id {uuid} NOT NULL PRIMARY KEY
) {strict};

-- postgres:
INSERT INTO feed (feed_id) VALUES (gen_random_uuid());
-- end
-- sqlite:
INSERT INTO feed (feed_id) VALUES (randomblob(16));
-- end

-- In the order in which a partition is served. Sequences have no gaps.
CREATE TABLE events (
    partition {int} NOT NULL,
    sequence {int} NOT NULL,
    event_id {uuid} NOT NULL,
    at {time} NOT NULL,
    payload {bytes} NOT NULL,
    PRIMARY KEY (partition, sequence)
) {strict};

-- Per partition the last sequence that was given, and the last that has been dropped. A commit that numbers events holds the rows of
-- their partitions: the next number is not given before this one is durable.
CREATE TABLE feed_heads (
    partition {int} NOT NULL PRIMARY KEY,
    head {int} NOT NULL,
    dropped {int} NOT NULL,
    CHECK (0 <= dropped AND dropped <= head)
) {hot};
INSERT INTO feed_heads (partition, head, dropped) VALUES
    (0, 0, 0), (1, 0, 0), (2, 0, 0), (3, 0, 0), (4, 0, 0), (5, 0, 0), (6, 0, 0), (7, 0, 0),
    (8, 0, 0), (9, 0, 0), (10, 0, 0), (11, 0, 0), (12, 0, 0), (13, 0, 0), (14, 0, 0), (15, 0, 0);

-- The inbox: how far a consumer in this service has come in a source's feed.
CREATE TABLE inbox (
    consumer {key} NOT NULL,
    source {key} NOT NULL,
    cursor {key} NOT NULL,
    PRIMARY KEY (consumer, source)
) {hot};

-- Requests that succeeded, for ever. Fingerprints are keyed hashes; answers about a subject can be sealed with its key.
CREATE TABLE requests (
    request_key {uuid} NOT NULL PRIMARY KEY,
    fingerprint {bytes} NOT NULL,
    answer {bytes} NOT NULL,
    sealed {bool} NOT NULL,
    subject {uuid},
    at {time} NOT NULL
) {strict};
CREATE INDEX requests_by_subject ON requests (subject) WHERE subject IS NOT NULL;

-- What other services are to bring about: one row per effect, whichever way it is wanted now.
CREATE TABLE effects (
    effect_key {key} NOT NULL PRIMARY KEY,
    kind {key} NOT NULL,
    wanted {bool} NOT NULL,
    payload {bytes} NOT NULL,
    -- Grows with every change of what is wanted.
    version {int} NOT NULL,
    -- The last version that the target has confirmed.
    done_version {int} NOT NULL,
    -- Attempts at this version.
    attempts {int} NOT NULL,
    -- NULL when nothing is to be done. A worker that takes the effect moves it to the end of its lease.
    next_attempt_at {time},
    CHECK (0 <= done_version AND done_version <= version)
) {hot};
CREATE INDEX effects_due ON effects (kind, next_attempt_at) WHERE next_attempt_at IS NOT NULL;
