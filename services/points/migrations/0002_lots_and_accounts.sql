-- Operations that spent points, with how many of them were given back. The entry says from which lots they came.
CREATE TABLE redemptions (
    redemption {uuid} NOT NULL PRIMARY KEY,
    account_id {uuid} NOT NULL,
    version {int} NOT NULL,
    refunded {int} NOT NULL,
    CHECK (refunded >= 0)
) {hot};

-- Activities by the hash of program, activity and its id: the natural key that binds on success only.
CREATE TABLE activities (
    activity_key {uuid} NOT NULL PRIMARY KEY,
    account_id {uuid} NOT NULL,
    operation {uuid} NOT NULL
) {strict};
