-- Keyed hashes over the entries of an account up to a version, each chained to the one before.
CREATE TABLE seals (
    account_id {uuid} NOT NULL,
    version {int} NOT NULL,
    -- Version of the master key that it was made with.
    key_version {int} NOT NULL,
    hash {bytes} NOT NULL,
    sealed_at {time} NOT NULL,
    PRIMARY KEY (account_id, version)
) {strict};
