-- What is personal is in data sealed under the member's own key, and nowhere else: destroying `data_key` erases the member.
-- In the clear are state, times, channel, store and referral code here, and month and day of birth in events, since rules go by them.

CREATE TABLE members (
    program_id    {key}   NOT NULL,
    member_id     {uuid}  NOT NULL,
    version       {int}   NOT NULL CHECK (version >= 1),
    -- 1 active, 2 blocked, 3 closed, as in regulars.events.v1.MemberState.
    state         {int}   NOT NULL CHECK (state BETWEEN 1 AND 3),
    state_reason  TEXT    NOT NULL CHECK ((state = 1) = (state_reason = '')),
    state_time    {time}  NOT NULL,
    enrol_time    {time}  NOT NULL,
    channel       TEXT    NOT NULL,
    store         TEXT    NOT NULL,
    referral_code TEXT    NOT NULL,
    create_time   {time}  NOT NULL,
    update_time   {time}  NOT NULL,
    -- Wrapped by the keyring.
    data_key      {bytes} NOT NULL,
    -- Names, identities, birth date, attributes; sealed.
    profile       {bytes} NOT NULL,
    PRIMARY KEY (program_id, member_id)
){hot};

-- The directory of identities: who has what, by keyed hash. The values are in the profile.
CREATE TABLE member_identities (
    program_id {key}   NOT NULL,
    kind       {key}   NOT NULL,
    hash       {bytes} NOT NULL,
    member_id  {uuid}  NOT NULL,
    PRIMARY KEY (program_id, kind, hash)
){strict};

-- Who has seen a member in the clear.
CREATE TABLE member_accesses (
    program_id  {key}   NOT NULL,
    access_id   {uuid}  NOT NULL,
    member_id   {uuid}  NOT NULL,
    actor       TEXT    NOT NULL,
    role        {int}   NOT NULL,
    -- Paths, separated by commas.
    fields      TEXT    NOT NULL,
    -- Sealed under the member's key, since people write names into it.
    reason      {bytes} NOT NULL,
    access_time {time}  NOT NULL,
    PRIMARY KEY (program_id, access_id)
){strict};

CREATE INDEX member_accesses_by_member ON member_accesses (program_id, member_id, access_id);
