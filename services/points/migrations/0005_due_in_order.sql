-- What has fallen due is paged by moment and account. Much falls due at one moment, the end of a month: an index of the moments alone would
-- be read from there on for each page.
DROP INDEX accounts_due;
CREATE INDEX accounts_due ON accounts (next_due_at, account_id) WHERE next_due_at IS NOT NULL;
