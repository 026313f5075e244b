-- Keyed hashes over the entries of an account after one version and up to another, each chained to the one before: a seal has one
-- successor, whoever makes it.
CREATE TABLE seals (
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
