-- A voucher may be a piece of a reward that was given, not redeemed, so what was said of the columns together no longer holds. SQLite
-- changes no constraint: the table is made anew.
CREATE TABLE vouchers_now (
    voucher_id {uuid} NOT NULL PRIMARY KEY,
    account_id {uuid} NOT NULL,
    program {key} NOT NULL,
    member {uuid} NOT NULL,
    -- The reward whose piece it is, and the operation that spent points on it; NULL when it is none, and when it cost nothing.
    reward_key {uuid},
    redemption {uuid},
    -- The hash of program and grant key, and the operation whose answer told of the grant; NULL when it was not granted.
    grant_key {uuid},
    grant_operation {uuid},
    code_hash {bytes} NOT NULL,
    key_version {int} NOT NULL,
    -- 1 usable, 2 used, 3 revoked, 4 refunded, 5 refunded and put back into stock, 6 revoked and put back into stock.
    state {int} NOT NULL,
    -- It is taken back when the order that it is used for is cancelled.
    recalled {bool} NOT NULL,
    version {int} NOT NULL,
    issued_at {time} NOT NULL,
    expires_at {time},
    -- The order it is bound to, or why it was revoked.
    reference {key} NOT NULL,
    use_operation {uuid},
    used_at {time},
    discount {int} NOT NULL,
    -- What it is worth and what members read, encoded.
    details {bytes} NOT NULL,
    CHECK ((state = 2) = (use_operation IS NOT NULL) AND (state = 2) = (used_at IS NOT NULL)),
    CHECK (redemption IS NULL OR reward_key IS NOT NULL),
    CHECK ((grant_key IS NULL) = (grant_operation IS NULL) AND (grant_key IS NULL OR reward_key IS NULL))
) {hot};
INSERT INTO vouchers_now (voucher_id, account_id, program, member, reward_key, redemption, grant_key, grant_operation, code_hash, key_version,
    state, recalled, version, issued_at, expires_at, reference, use_operation, used_at, discount, details)
SELECT voucher_id, account_id, program, member, reward_key, redemption, grant_key, grant_operation, code_hash, key_version,
    state, FALSE, version, issued_at, expires_at, reference, use_operation, used_at, discount, details FROM vouchers;
DROP TABLE vouchers;
ALTER TABLE vouchers_now RENAME TO vouchers;
CREATE UNIQUE INDEX vouchers_by_code ON vouchers (code_hash);
CREATE UNIQUE INDEX vouchers_by_grant ON vouchers (grant_key) WHERE grant_key IS NOT NULL;
CREATE INDEX vouchers_of_account ON vouchers (account_id, issued_at, voucher_id);
CREATE INDEX vouchers_of_reward ON vouchers (reward_key) WHERE reward_key IS NOT NULL;

-- Vouchers that other services want members to have, by the hash of program and key: the newest version of the wish that was seen, and the
-- voucher that was issued for it last. A wish to have it no more is kept also when it comes before the wish to have it.
CREATE TABLE wishes (
    wish_key {uuid} NOT NULL PRIMARY KEY,
    account_id {uuid} NOT NULL,
    reward_key {uuid} NOT NULL,
    version {int} NOT NULL,
    voucher_id {uuid}
) {hot};

-- What tills without a connection have done, by the hash of program, terminal and number: it has happened, so it is kept also when the
-- voucher was not good any more. Then what it took off is lost.
CREATE TABLE offline_uses (
    use_key {uuid} NOT NULL PRIMARY KEY,
    program {key} NOT NULL,
    voucher_id {uuid} NOT NULL,
    member {uuid} NOT NULL,
    terminal {key} NOT NULL,
    sequence {int} NOT NULL,
    order_reference {key} NOT NULL,
    occurred_at {time} NOT NULL,
    recorded_at {time} NOT NULL,
    -- 1 bound, 2 used for another order before, 3 revoked or refunded before, 4 lost until its order was cancelled.
    result {int} NOT NULL,
    discount {int} NOT NULL,
    -- The operation whose answer told of it.
    operation {uuid} NOT NULL
) {strict};
CREATE INDEX offline_uses_in_order ON offline_uses (program, recorded_at, use_key);
CREATE INDEX offline_losses ON offline_uses (program, recorded_at, use_key) WHERE result IN (2, 3);
CREATE INDEX offline_uses_of_voucher ON offline_uses (voucher_id);
