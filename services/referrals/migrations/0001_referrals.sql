-- Versions of plans; a row never changes.
CREATE TABLE plans (
    program_id            {key} NOT NULL,
    plan_id               {key} NOT NULL,
    version               {int} NOT NULL CHECK (version >= 1),
    display_name          TEXT NOT NULL,
    public_title          TEXT NOT NULL,
    public_text           TEXT NOT NULL,
    advocate_points       {int} CHECK (advocate_points > 0),
    friend_points         {int} CHECK (friend_points > 0),
    minimum_minor         {int} NOT NULL CHECK (minimum_minor >= 0),
    currency              TEXT NOT NULL,
    within_us             {int} NOT NULL CHECK (within_us > 0),
    attribution_window_us {int} NOT NULL CHECK (attribution_window_us >= 0),
    hold_us               {int} NOT NULL CHECK (hold_us >= 0),
    advocate_reward_limit {int} CHECK (advocate_reward_limit > 0),
    create_time           {time} NOT NULL,
    PRIMARY KEY (program_id, plan_id, version),
    CHECK (advocate_points IS NOT NULL OR friend_points IS NOT NULL)
) {strict};

-- One code per advocate and plan.
CREATE TABLE codes (
    program_id    {key} NOT NULL,
    code          {key} NOT NULL,
    advocate      {uuid} NOT NULL,
    plan_id       {key} NOT NULL,
    display_label TEXT NOT NULL,
    use_limit     {int} CHECK (use_limit > 0),
    use_count     {int} NOT NULL CHECK (use_count >= 0),
    -- Referrals for which the advocate is or will be rewarded: what the plan's limit is held against.
    reward_count  {int} NOT NULL CHECK (reward_count >= 0),
    expire_time   {time},
    create_time   {time} NOT NULL,
    revoke_time   {time},
    PRIMARY KEY (program_id, code),
    CHECK (use_limit IS NULL OR use_count <= use_limit)
) {hot};
CREATE UNIQUE INDEX codes_of_advocates ON codes (program_id, advocate, plan_id);

-- What is known of each member as a friend; merged from the feeds of members and points, which come in any order. The row of
-- a friend is the lock of everything that concerns the friend's referral, and is always taken first.
CREATE TABLE friends (
    program_id      {key} NOT NULL,
    member_id       {uuid} NOT NULL,
    enroll_time     {time},
    purchase_id     {key},
    purchase_time   {time},
    net_minor       {int},
    remaining_minor {int},
    complete_return {bool},
    PRIMARY KEY (program_id, member_id),
    CHECK ((purchase_id IS NULL) = (purchase_time IS NULL) AND (purchase_id IS NULL) = (net_minor IS NULL)
       AND (purchase_id IS NULL) = (remaining_minor IS NULL) AND (purchase_id IS NULL) = (complete_return IS NULL))
) {hot};

CREATE TABLE referrals (
    program_id        {key} NOT NULL,
    referral_id       {uuid} NOT NULL,
    version           {int} NOT NULL CHECK (version >= 1),
    friend            {uuid} NOT NULL,
    source            TEXT NOT NULL,
    attribute_time    {time} NOT NULL,
    -- Whether the friend belongs to the advocate for life.
    binds_friend      {bool} NOT NULL,
    advocate          {uuid},
    code              {key},
    plan_id           {key},
    plan_version      {int},
    qualify_before    {time},
    state             TEXT NOT NULL,
    reason            TEXT,
    ended_by          TEXT,
    end_time          {time},
    purchase_id       {key},
    qualify_time      {time},
    auto_approve_time {time},
    advocate_points   {int},
    advocate_leg      TEXT,
    friend_points     {int},
    friend_leg        TEXT,
    PRIMARY KEY (program_id, referral_id),
    CHECK ((advocate IS NULL) = (code IS NULL) AND (advocate IS NULL) = (plan_id IS NULL)
       AND (advocate IS NULL) = (plan_version IS NULL) AND (advocate IS NULL) = (qualify_before IS NULL)),
    CHECK ((advocate_points IS NULL) = (advocate_leg IS NULL) AND (friend_points IS NULL) = (friend_leg IS NULL)),
    CHECK ((state IN ('VOIDED', 'REJECTED')) = (end_time IS NOT NULL))
) {hot};
-- The first advocate wins for life, whoever asks at the same moment.
-- postgres:
CREATE UNIQUE INDEX referrals_binding ON referrals (program_id, friend) WHERE binds_friend;
-- end
-- sqlite:
CREATE UNIQUE INDEX referrals_binding ON referrals (program_id, friend) WHERE binds_friend = 1;
-- end
CREATE INDEX referrals_of_friends ON referrals (program_id, friend, referral_id);
CREATE INDEX referrals_of_advocates ON referrals (program_id, advocate, referral_id);
CREATE INDEX referrals_by_state ON referrals (program_id, state, referral_id);
CREATE INDEX referrals_due ON referrals (auto_approve_time) WHERE state = 'QUALIFIED';
