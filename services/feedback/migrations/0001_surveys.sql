-- Surveys and their terms. Lists hold one word a line.
CREATE TABLE surveys (
    program_id       {key} NOT NULL,
    survey_id        {key} NOT NULL,
    kind             TEXT NOT NULL,
    display_name     TEXT NOT NULL,
    question         TEXT NOT NULL,
    state            TEXT NOT NULL,
    delay_count      {int} NOT NULL CHECK (delay_count > 0),
    delay_unit       TEXT NOT NULL,
    minimum_currency TEXT,
    minimum_minor    {int},
    channels         TEXT NOT NULL,
    stores           TEXT NOT NULL,
    expire_count     {int} NOT NULL CHECK (expire_count > 0),
    expire_unit      TEXT NOT NULL,
    recontact_days   {int} NOT NULL CHECK (recontact_days >= 0),
    sampling_percent {int} NOT NULL CHECK (sampling_percent BETWEEN 1 AND 100),
    edit_window_ms   {int} NOT NULL CHECK (edit_window_ms >= 0),
    create_time      {time} NOT NULL,
    update_time      {time} NOT NULL,
    version          {int} NOT NULL,
    PRIMARY KEY (program_id, survey_id),
    CHECK ((minimum_currency IS NULL) = (minimum_minor IS NULL))
) {strict};

-- One member asked by one survey about one purchase. The token is kept as a hash only.
CREATE TABLE invitations (
    program_id      {key} NOT NULL,
    invitation_id   {uuid} NOT NULL,
    survey_id       {key} NOT NULL,
    member_id       {uuid} NOT NULL,
    purchase_id     {key} NOT NULL,
    store_id        {key} NOT NULL,
    state           TEXT NOT NULL,
    suppress_reason TEXT,
    due_time        {time} NOT NULL,
    expire_time     {time} NOT NULL,
    send_time       {time},
    response_id     {uuid},
    token_hash      {bytes},
    next_time       {time},
    create_time     {time} NOT NULL,
    update_time     {time} NOT NULL,
    version         {int} NOT NULL,
    PRIMARY KEY (program_id, invitation_id),
    CHECK ((suppress_reason IS NOT NULL) = (state = 'SUPPRESSED')),
    CHECK ((response_id IS NOT NULL) = (state = 'ANSWERED')),
    CHECK (state NOT IN ('SENT', 'ANSWERED') OR send_time IS NOT NULL)
) {hot};

-- The natural key: a purchase that is told twice is asked about once.
CREATE UNIQUE INDEX invitations_occasion ON invitations (program_id, purchase_id, survey_id);
CREATE UNIQUE INDEX invitations_token ON invitations (program_id, token_hash) WHERE token_hash IS NOT NULL;
CREATE INDEX invitations_member ON invitations (program_id, member_id, invitation_id);
CREATE INDEX invitations_state ON invitations (program_id, state, invitation_id);
CREATE INDEX invitations_due ON invitations (program_id, due_time, invitation_id) WHERE state = 'DUE';
CREATE INDEX invitations_sent ON invitations (program_id, survey_id, send_time) WHERE send_time IS NOT NULL;
-- What time alone will move, soonest first.
CREATE INDEX invitations_next ON invitations (next_time) WHERE next_time IS NOT NULL;

-- What was answered: once for an invitation. The comment is sealed under the member's data key.
CREATE TABLE responses (
    program_id      {key} NOT NULL,
    response_id     {uuid} NOT NULL,
    invitation_id   {uuid} NOT NULL,
    survey_id       {key} NOT NULL,
    member_id       {uuid} NOT NULL,
    purchase_id     {key} NOT NULL,
    store_id        {key} NOT NULL,
    score           {int} NOT NULL CHECK (score BETWEEN 0 AND 10),
    comment         {bytes},
    answer_time     {time} NOT NULL,
    edit_until_time {time} NOT NULL,
    update_time     {time} NOT NULL,
    version         {int} NOT NULL,
    PRIMARY KEY (program_id, response_id),
    UNIQUE (program_id, invitation_id)
) {strict};
CREATE INDEX responses_survey ON responses (program_id, survey_id, answer_time);
CREATE INDEX responses_member ON responses (program_id, member_id, response_id);

-- The recontact clock of a member: the last invitation that went out or waits for its sender, whichever survey made it, and
-- the contact before it, which counts again when this one never goes out.
CREATE TABLE contacts (
    program_id    {key} NOT NULL,
    member_id     {uuid} NOT NULL,
    invitation_id {uuid} NOT NULL,
    contact_time  {time},
    previous_time {time},
    PRIMARY KEY (program_id, member_id)
) {hot};

-- Purchases that went back as a whole, so that a purchase which is told after its return is not asked about.
CREATE TABLE returned_purchases (
    program_id  {key} NOT NULL,
    purchase_id {key} NOT NULL,
    return_time {time} NOT NULL,
    PRIMARY KEY (program_id, purchase_id)
) {strict};

-- The data key of a member, wrapped. Destroying it makes what is sealed under it unreadable for ever.
CREATE TABLE member_keys (
    program_id  {key} NOT NULL,
    member_id   {uuid} NOT NULL,
    wrapped_key {bytes} NOT NULL,
    PRIMARY KEY (program_id, member_id)
) {strict};
