-- Rewards that members redeem points for, by the hash of program and id. What they are never changes; stock, what was taken of it, and
-- retirement do. A row is locked, after the accounts, by every batch that takes from it: the counts are exact.
CREATE TABLE catalogue (
    catalogue_key {uuid} NOT NULL PRIMARY KEY,
    program {key} NOT NULL,
    reward {key} NOT NULL,
    cost {int} NOT NULL,
    -- Pieces ever put in, less those taken away; NULL without limit.
    stock {int},
    -- Pieces that were redeemed and not put back.
    taken {int} NOT NULL,
    start_at {time},
    end_at {time},
    created_at {time} NOT NULL,
    retired_at {time},
    -- The terms, encoded.
    details {bytes} NOT NULL,
    CHECK (0 <= taken AND (stock IS NULL OR taken <= stock))
) {hot};
CREATE UNIQUE INDEX catalogue_by_id ON catalogue (program, reward);
CREATE INDEX catalogue_by_cost ON catalogue (program, cost, reward) WHERE retired_at IS NULL;

-- Vouchers. Their codes stand nowhere: they are derived from the id with the master key, and looked up by a keyed hash.
CREATE TABLE vouchers (
    voucher_id {uuid} NOT NULL PRIMARY KEY,
    account_id {uuid} NOT NULL,
    program {key} NOT NULL,
    member {uuid} NOT NULL,
    -- The reward and the operation that spent points on it; NULL when granted.
    reward_key {uuid},
    redemption {uuid},
    -- The hash of program and grant key, and the operation whose answer told of the grant; NULL when redeemed.
    grant_key {uuid},
    grant_operation {uuid},
    code_hash {bytes} NOT NULL,
    key_version {int} NOT NULL,
    -- 1 usable, 2 used, 3 revoked, 4 refunded, 5 refunded and put back into stock.
    state {int} NOT NULL,
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
    CHECK ((reward_key IS NULL) = (redemption IS NULL) AND (grant_key IS NULL) = (redemption IS NOT NULL))
) {hot};
CREATE UNIQUE INDEX vouchers_by_code ON vouchers (code_hash);
CREATE UNIQUE INDEX vouchers_by_grant ON vouchers (grant_key) WHERE grant_key IS NOT NULL;
CREATE INDEX vouchers_of_account ON vouchers (account_id, issued_at, voucher_id);
CREATE INDEX vouchers_of_reward ON vouchers (reward_key) WHERE reward_key IS NOT NULL;
