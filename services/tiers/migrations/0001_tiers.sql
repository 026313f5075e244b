-- A scheme and the number of its newest version.
CREATE TABLE schemes (
    program_id {key} NOT NULL,
    scheme_id {key} NOT NULL,
    version {int} NOT NULL CHECK (version >= 1),
    PRIMARY KEY (program_id, scheme_id)
) {strict};

-- Every version as it was answered: an encoded regulars.tiers.v1.Scheme. Never changed.
CREATE TABLE scheme_versions (
    program_id {key} NOT NULL,
    scheme_id {key} NOT NULL,
    version {int} NOT NULL,
    start_time {time} NOT NULL,
    scheme {bytes} NOT NULL,
    PRIMARY KEY (program_id, scheme_id, version)
) {strict};

-- How far all members of a program have been evaluated under a version of a scheme. The row goes when it is done.
CREATE TABLE sweeps (
    program_id {key} NOT NULL,
    scheme_id {key} NOT NULL,
    version {int} NOT NULL,
    after_member {uuid},
    PRIMARY KEY (program_id, scheme_id)
) {strict};

-- Who has bought or was granted something. The row is the lock of all that is a member's, and holds the version of the
-- member's events. A member belongs to one program; the program is in the keys so that a name with another one finds nothing.
CREATE TABLE members (
    member_id {uuid} NOT NULL,
    program_id {key} NOT NULL,
    version {int} NOT NULL,
    PRIMARY KEY (member_id, program_id)
) {hot};
CREATE INDEX members_by_program ON members (program_id, member_id);

-- Each purchase and return as it came, under the version that its event had: the same event again changes nothing. The counted
-- day is that of the purchase; a return that came before its purchase has none yet.
CREATE TABLE purchase_changes (
    member_id {uuid} NOT NULL,
    program_id {key} NOT NULL,
    purchase_id {key} NOT NULL,
    version {int} NOT NULL,
    is_return {bool} NOT NULL,
    occur_time {time} NOT NULL,
    counted_day {int},
    known_day {int} NOT NULL,
    points {int} NOT NULL,
    PRIMARY KEY (member_id, program_id, purchase_id, version)
) {strict};
CREATE INDEX purchase_changes_by_day ON purchase_changes (member_id, program_id, counted_day);

-- The sums of purchase_changes by counted and known day (as yyyymmdd in the program's zone): what an evaluation reads, so that
-- it costs days and not purchases.
CREATE TABLE day_points (
    member_id {uuid} NOT NULL,
    program_id {key} NOT NULL,
    counted_day {int} NOT NULL,
    known_day {int} NOT NULL CHECK (known_day >= counted_day),
    points {int} NOT NULL,
    PRIMARY KEY (member_id, program_id, counted_day, known_day)
) {hot};

-- What a member holds in a scheme, as the last entry of the log told it, and when to look again.
CREATE TABLE member_tiers (
    member_id {uuid} NOT NULL,
    program_id {key} NOT NULL,
    scheme_id {key} NOT NULL,
    level_id {key},
    source {int},
    start_time {time},
    end_time {time},
    next_evaluation_time {time},
    scheme_version {int} NOT NULL,
    PRIMARY KEY (member_id, program_id, scheme_id)
) {hot};
CREATE INDEX member_tiers_due ON member_tiers (next_evaluation_time) WHERE next_evaluation_time IS NOT NULL;
CREATE INDEX member_tiers_by_level ON member_tiers (program_id, scheme_id, level_id, member_id);

-- The log. An entry replaces all that earlier versions say about its start_time and later.
CREATE TABLE tier_transitions (
    member_id {uuid} NOT NULL,
    program_id {key} NOT NULL,
    scheme_id {key} NOT NULL,
    version {int} NOT NULL,
    change {int} NOT NULL,
    from_level {key},
    to_level {key},
    source {int},
    multiplier {key},
    start_time {time} NOT NULL,
    end_time {time},
    cause {int} NOT NULL,
    cause_name {key} NOT NULL,
    cause_event_id {key} NOT NULL,
    scheme_version {int} NOT NULL,
    record_time {time} NOT NULL,
    PRIMARY KEY (member_id, program_id, scheme_id, version),
    CHECK ((to_level IS NULL) = (source IS NULL) AND (to_level IS NULL) = (multiplier IS NULL))
) {strict};

-- Levels given by hand.
CREATE TABLE grants (
    member_id {uuid} NOT NULL,
    program_id {key} NOT NULL,
    scheme_id {key} NOT NULL,
    grant_id {uuid} NOT NULL,
    level_id {key} NOT NULL,
    start_time {time} NOT NULL,
    end_time {time},
    approver {key} NOT NULL,
    reason {key} NOT NULL,
    actor {key} NOT NULL,
    revoke_time {time},
    revoke_reason {key} NOT NULL,
    PRIMARY KEY (member_id, program_id, scheme_id, grant_id)
) {strict};
