-- Programs, stores, terminals and API keys.

-- One row. Every change raises the revision and holds the row's lock until it commits, so that revisions become visible in
-- their order and whoever has seen one has seen all before it.
CREATE TABLE directory_state (
    only_row {int} PRIMARY KEY CHECK (only_row = 1),
    revision {int} NOT NULL,
    -- 1 once the first administrator's key has been made; it is made once, ever.
    first_administrator {int} NOT NULL
) {hot};
INSERT INTO directory_state (only_row, revision, first_administrator) VALUES (1, 0, 0);

CREATE TABLE programs (
    program_id {key} PRIMARY KEY,
    display_name TEXT NOT NULL,
    time_zone TEXT NOT NULL,
    currency_code TEXT NOT NULL CHECK (length(currency_code) = 3),
    create_time {time} NOT NULL,
    -- The revision of its last change.
    revision {int} NOT NULL
) {strict};
CREATE INDEX programs_revision ON programs (revision);

CREATE TABLE stores (
    program_id {key} NOT NULL REFERENCES programs (program_id),
    store_id {key} NOT NULL,
    display_name TEXT NOT NULL,
    -- NULL: the program's.
    time_zone TEXT,
    create_time {time} NOT NULL,
    PRIMARY KEY (program_id, store_id)
) {strict};

CREATE TABLE terminals (
    program_id {key} NOT NULL,
    store_id {key} NOT NULL,
    terminal_id {key} NOT NULL,
    display_name TEXT NOT NULL,
    create_time {time} NOT NULL,
    PRIMARY KEY (program_id, store_id, terminal_id),
    FOREIGN KEY (program_id, store_id) REFERENCES stores (program_id, store_id)
) {strict};

CREATE TABLE api_keys (
    api_key_id {key} PRIMARY KEY,
    display_name TEXT NOT NULL,
    -- regulars.common.v1.Role
    role {int} NOT NULL CHECK (role BETWEEN 1 AND 8),
    -- Ids of programs separated by one space; NULL: all.
    programs TEXT CHECK (programs <> ''),
    -- Its resource name; NULL: none.
    terminal TEXT,
    -- BLAKE3 of the secret, which has 256 random bits and therefore needs no slow hash.
    secret_hash {bytes} NOT NULL CHECK (length(secret_hash) = 32),
    create_time {time} NOT NULL,
    revoke_time {time},
    revision {int} NOT NULL
) {strict};
CREATE INDEX api_keys_revision ON api_keys (revision);
