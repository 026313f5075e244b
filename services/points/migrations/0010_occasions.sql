-- Gifts by themselves are looked for in all members of a program, page by page: so the facts say whose they are. Those of who has never bought are
-- told again with his next event.
ALTER TABLE facts ADD COLUMN program {key};
ALTER TABLE facts ADD COLUMN member {uuid};
UPDATE facts SET program = (SELECT a.program FROM accounts a WHERE a.account_id = facts.account_id),
                 member = (SELECT a.member FROM accounts a WHERE a.account_id = facts.account_id);
CREATE INDEX facts_in_program ON facts (program, account_id) WHERE program IS NOT NULL;

-- How far that has come, for the days from the first to the last, counted since 1970. When everybody has been looked at, the first is the day after
-- the last. Of two processes that look at one page, one moves the row on.
CREATE TABLE occasion_sweeps (
    program {key} NOT NULL PRIMARY KEY,
    first_day {int} NOT NULL,
    last_day {int} NOT NULL,
    -- The account after which it goes on; nil at the beginning.
    after_account {uuid} NOT NULL,
    -- The version of the terms that held when it began: when another holds, the last day is begun again. 0 for none.
    version {int} NOT NULL
) {hot};

-- What vouchers that are used keep from others, by the hash of program and order, or of program and account for a first order. A row is locked
-- by whoever uses or voids a voucher there. Orders that had vouchers before this table are not in it: none of those excluded another.
CREATE TABLE voucher_holds (
    hold_key {uuid} NOT NULL PRIMARY KEY,
    -- Counts the changes.
    version {int} NOT NULL,
    -- Which vouchers hold it, each with its order and what it excludes.
    holders {bytes} NOT NULL
) {hot};
