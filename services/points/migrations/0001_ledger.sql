-- The ledger. `entries` is the truth; everything else can be derived from it and from what callers said.
-- Hot tables begin with the account or with a hash, so that they can be spread by it.

-- One row per account: the fold of its entries, locked by every change. Balances are those of the main wallet.
CREATE TABLE accounts (
    account_id {uuid} NOT NULL PRIMARY KEY,
    program {key} NOT NULL,
    member {uuid} NOT NULL,
    version {int} NOT NULL,
    active {int} NOT NULL,
    pending {int} NOT NULL,
    reserved {int} NOT NULL,
    deficit {int} NOT NULL,
    -- When an activation, the end of a reservation or an expiry falls due; NULL when nothing will.
    next_due_at {time},
    -- All wallets with their lots, open reservations and counters.
    state {bytes} NOT NULL,
    CHECK (active >= 0 AND pending >= 0 AND reserved >= 0 AND deficit >= 0)
) {hot};
CREATE INDEX accounts_due ON accounts (next_due_at) WHERE next_due_at IS NOT NULL;

-- What happened. Rows are never changed.
CREATE TABLE entries (
    account_id {uuid} NOT NULL,
    version {int} NOT NULL,
    kind {int} NOT NULL,
    wallet {key} NOT NULL,
    points {int} NOT NULL,
    active_after {int} NOT NULL,
    pending_after {int} NOT NULL,
    reserved_after {int} NOT NULL,
    deficit_after {int} NOT NULL,
    -- Nil for work of the clock.
    operation {uuid} NOT NULL,
    occurred_at {time} NOT NULL,
    effective_at {time} NOT NULL,
    recorded_at {time} NOT NULL,
    -- Lots, source, who and where.
    details {bytes} NOT NULL,
    PRIMARY KEY (account_id, version)
) {strict};

-- Answers by request, found before every business check. Successes stay for ever, refusals until `forget_at`.
-- The request ids of all RPCs live here, so that an id belongs to one of them.
CREATE TABLE operations (
    operation_id {uuid} NOT NULL PRIMARY KEY,
    fingerprint {bytes} NOT NULL,
    -- 1 an operation, 2 a refusal, 3 the answer of an RPC that moves no points by itself.
    kind {int} NOT NULL,
    answer {bytes} NOT NULL,
    recorded_at {time} NOT NULL,
    forget_at {time}
) {strict};
CREATE INDEX operations_to_forget ON operations (forget_at) WHERE forget_at IS NOT NULL;

-- Purchases by the hash of program and purchase id: the natural key that binds on success only.
CREATE TABLE purchases (
    purchase_key {uuid} NOT NULL PRIMARY KEY,
    account_id {uuid},
    operation {uuid} NOT NULL,
    net {int} NOT NULL,
    remaining_net {int} NOT NULL,
    due_points {int} NOT NULL,
    returns {int} NOT NULL,
    occurred_at {time} NOT NULL,
    recorded_at {time} NOT NULL,
    details {bytes} NOT NULL,
    CHECK (0 <= remaining_net AND remaining_net <= net)
) {hot};

-- Returns of purchases, numbered from 1.
CREATE TABLE purchase_returns (
    purchase_key {uuid} NOT NULL,
    number {int} NOT NULL,
    operation {uuid} NOT NULL,
    returned_net {int} NOT NULL,
    due_points_delta {int} NOT NULL,
    occurred_at {time} NOT NULL,
    recorded_at {time} NOT NULL,
    -- What was asked, and where.
    details {bytes} NOT NULL,
    PRIMARY KEY (purchase_key, number)
) {strict};

-- How reservations ended; those that ended by time are told by their absence from the account.
CREATE TABLE reservations (
    reservation_id {uuid} NOT NULL PRIMARY KEY,
    account_id {uuid} NOT NULL,
    -- 1 open, 2 captured, 3 released.
    state {int} NOT NULL
) {hot};

-- Rewards of other services by the hash of program and reward key.
CREATE TABLE rewards (
    reward_key {uuid} NOT NULL PRIMARY KEY,
    account_id {uuid} NOT NULL,
    version {int} NOT NULL,
    granted {int} NOT NULL,
    lot {bytes} NOT NULL
) {hot};

-- What other services' feeds told about a member.
CREATE TABLE facts (
    account_id {uuid} NOT NULL PRIMARY KEY,
    version {int} NOT NULL,
    details {bytes} NOT NULL
) {hot};

-- The terms of programs, never changed.
CREATE TABLE program_versions (
    program {key} NOT NULL,
    number {int} NOT NULL,
    start_at {time} NOT NULL,
    created_at {time} NOT NULL,
    author {key} NOT NULL,
    terms {bytes} NOT NULL,
    PRIMARY KEY (program, number)
) {strict};
