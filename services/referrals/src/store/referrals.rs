use kernel::{MemberId, ProgramId, Timestamp, Uuid};
use persistence::{DbTime, Error, Tx, on_engine};
use sqlx::AssertSqlSafe;

use super::{Words, corrupt, read_code, read_plan_id, read_program};
use crate::domain::{Leg, LegState, Origin, Qualified, Referral, RejectionReason, Role, Source, State, VoidReason};

#[derive(sqlx::FromRow)]
struct ReferralRow {
    program_id: String,
    referral_id: Uuid,
    version: i64,
    friend: Uuid,
    source: String,
    attribute_time: DbTime,
    advocate: Option<Uuid>,
    code: Option<String>,
    plan_id: Option<String>,
    plan_version: Option<i64>,
    qualify_before: Option<DbTime>,
    state: String,
    reason: Option<String>,
    ended_by: Option<String>,
    end_time: Option<DbTime>,
    purchase_id: Option<String>,
    qualify_time: Option<DbTime>,
    auto_approve_time: Option<DbTime>,
    advocate_points: Option<i64>,
    advocate_leg: Option<String>,
    friend_points: Option<i64>,
    friend_leg: Option<String>,
}

const SOURCES: Words<Source> = Words("source", &[(Source::Enrolment, "ENROLMENT"), (Source::Call, "CALL")]);

const REJECTIONS: Words<RejectionReason> = Words(
    "reason",
    &[
        (RejectionReason::CodeNotFound, "CODE_NOT_FOUND"),
        (RejectionReason::CodeExpired, "CODE_EXPIRED"),
        (RejectionReason::CodeRevoked, "CODE_REVOKED"),
        (RejectionReason::CodeExhausted, "CODE_EXHAUSTED"),
        (RejectionReason::SelfReferral, "SELF_REFERRAL"),
        (RejectionReason::AlreadyReferred, "ALREADY_REFERRED"),
        (RejectionReason::PurchaseBelowMinimum, "PURCHASE_BELOW_MINIMUM"),
        (RejectionReason::PurchaseTooLate, "PURCHASE_TOO_LATE"),
        (RejectionReason::PurchaseBeforeAttribution, "PURCHASE_BEFORE_ATTRIBUTION"),
    ],
);

const VOIDS: Words<VoidReason> = Words(
    "reason",
    &[
        (VoidReason::PurchaseReturned, "PURCHASE_RETURNED"),
        (VoidReason::Fraud, "FRAUD"),
        (VoidReason::WrongAdvocate, "WRONG_ADVOCATE"),
        (VoidReason::MemberRequest, "MEMBER_REQUEST"),
        (VoidReason::Other, "OTHER"),
    ],
);

const LEGS: Words<LegState> = Words(
    "advocate_leg or friend_leg",
    &[
        (LegState::Awaiting, "AWAITING"),
        (LegState::Wanted, "WANTED"),
        (LegState::Issued, "ISSUED"),
        (LegState::Revoking, "REVOKING"),
        (LegState::Revoked, "REVOKED"),
        (LegState::Cancelled, "CANCELLED"),
        (LegState::Withheld, "WITHHELD"),
    ],
);

impl ReferralRow {
    fn write(referral: &Referral) -> ReferralRow {
        let origin = referral.origin.as_ref();
        let (reason, ended_by, end_time, qualified) = match &referral.state {
            State::Pending => (None, None, None, None),
            State::Qualified(qualified) | State::Approved(qualified) => (None, None, None, Some(qualified)),
            State::Voided { reason, by, time, qualified } => (Some(VOIDS.write(*reason)), by.clone(), Some(*time), qualified.as_ref()),
            State::Rejected { reason, time } => (Some(REJECTIONS.write(*reason)), None, Some(*time), None),
        };
        let leg = |role| referral.legs.iter().find(|leg| leg.role == role);
        ReferralRow {
            program_id: referral.program.as_str().to_owned(),
            referral_id: referral.id,
            version: referral.version,
            friend: referral.friend.0,
            source: SOURCES.write(referral.source).to_owned(),
            attribute_time: referral.attribute_time.into(),
            advocate: origin.map(|origin| origin.advocate.0),
            code: origin.map(|origin| origin.code.as_str().to_owned()),
            plan_id: origin.map(|origin| origin.plan.as_str().to_owned()),
            plan_version: origin.map(|origin| origin.plan_version),
            qualify_before: origin.map(|origin| origin.qualify_before.into()),
            state: referral.state.as_str().to_owned(),
            reason: reason.map(str::to_owned),
            ended_by,
            end_time: end_time.map(DbTime),
            purchase_id: qualified.map(|qualified| qualified.purchase.clone()),
            qualify_time: qualified.map(|qualified| qualified.qualify_time.into()),
            auto_approve_time: qualified.map(|qualified| qualified.auto_approve_time.into()),
            advocate_points: leg(Role::Advocate).map(|leg| leg.points),
            advocate_leg: leg(Role::Advocate).map(|leg| LEGS.write(leg.state).to_owned()),
            friend_points: leg(Role::Friend).map(|leg| leg.points),
            friend_leg: leg(Role::Friend).map(|leg| LEGS.write(leg.state).to_owned()),
        }
    }

    fn read(self) -> Result<Referral, Error> {
        let origin = match (self.advocate, self.code, self.plan_id, self.plan_version, self.qualify_before) {
            (None, None, None, None, None) => None,
            (Some(advocate), Some(code), Some(plan), Some(plan_version), Some(qualify_before)) => Some(Origin {
                advocate: MemberId(advocate),
                code: read_code(&code)?,
                plan: read_plan_id(&plan)?,
                plan_version,
                qualify_before: qualify_before.into(),
            }),
            _ => return Err(corrupt("advocate")),
        };
        let qualified = match (self.purchase_id, self.qualify_time, self.auto_approve_time) {
            (None, None, None) => None,
            (Some(purchase), Some(qualify_time), Some(approve)) => {
                Some(Qualified { purchase, qualify_time: qualify_time.into(), auto_approve_time: approve.into() })
            }
            _ => return Err(corrupt("purchase_id")),
        };
        let state = match (&*self.state, qualified, self.reason, self.end_time) {
            ("PENDING", None, None, None) => State::Pending,
            ("QUALIFIED", Some(qualified), None, None) => State::Qualified(qualified),
            ("APPROVED", Some(qualified), None, None) => State::Approved(qualified),
            ("VOIDED", qualified, Some(reason), Some(time)) => {
                State::Voided { reason: VOIDS.read(&reason)?, by: self.ended_by, time: time.into(), qualified }
            }
            ("REJECTED", None, Some(reason), Some(time)) => State::Rejected { reason: REJECTIONS.read(&reason)?, time: time.into() },
            _ => return Err(corrupt("state")),
        };
        let legs = [(Role::Advocate, self.advocate_points, self.advocate_leg), (Role::Friend, self.friend_points, self.friend_leg)];
        let legs = legs.into_iter().filter_map(|(role, points, word)| Some((role, points?, word?)));
        Ok(Referral {
            id: self.referral_id,
            program: read_program(&self.program_id)?,
            version: self.version,
            friend: MemberId(self.friend),
            source: SOURCES.read(&self.source)?,
            attribute_time: self.attribute_time.into(),
            origin,
            state,
            legs: legs.map(|(role, points, word)| Ok(Leg { role, points, state: LEGS.read(&word)? })).collect::<Result<_, Error>>()?,
        })
    }
}

/// Writes a new referral. `Unique` when the friend belongs to an advocate already and this one binds too.
pub(crate) async fn insert_referral(tx: &mut Tx, referral: &Referral) -> Result<(), Error> {
    let row = ReferralRow::write(referral);
    on_engine!(tx, |conn| sqlx::query(
        "INSERT INTO referrals (program_id, referral_id, version, friend, source, attribute_time, binds_friend, advocate, code,
                                plan_id, plan_version, qualify_before, state, reason, ended_by, end_time, purchase_id, qualify_time,
                                auto_approve_time, advocate_points, advocate_leg, friend_points, friend_leg)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23)",
    )
    .bind(row.program_id)
    .bind(row.referral_id)
    .bind(row.version)
    .bind(row.friend)
    .bind(row.source)
    .bind(row.attribute_time)
    .bind(referral.binds_friend())
    .bind(row.advocate)
    .bind(row.code)
    .bind(row.plan_id)
    .bind(row.plan_version)
    .bind(row.qualify_before)
    .bind(row.state)
    .bind(row.reason)
    .bind(row.ended_by)
    .bind(row.end_time)
    .bind(row.purchase_id)
    .bind(row.qualify_time)
    .bind(row.auto_approve_time)
    .bind(row.advocate_points)
    .bind(row.advocate_leg)
    .bind(row.friend_points)
    .bind(row.friend_leg)
    .execute(conn)
    .await
    .map(drop))?;
    Ok(())
}

/// Writes a referral that has moved by one version. A row that is not at the version before is a conflict.
pub(crate) async fn update_referral(tx: &mut Tx, referral: &Referral) -> Result<(), Error> {
    let row = ReferralRow::write(referral);
    let written = on_engine!(tx, |conn| sqlx::query(
        "UPDATE referrals
            SET version = $1, state = $2, reason = $3, ended_by = $4, end_time = $5, purchase_id = $6, qualify_time = $7,
                auto_approve_time = $8, advocate_leg = $9, friend_leg = $10
          WHERE program_id = $11 AND referral_id = $12 AND version = $1 - 1",
    )
    .bind(row.version)
    .bind(row.state)
    .bind(row.reason)
    .bind(row.ended_by)
    .bind(row.end_time)
    .bind(row.purchase_id)
    .bind(row.qualify_time)
    .bind(row.auto_approve_time)
    .bind(row.advocate_leg)
    .bind(row.friend_leg)
    .bind(row.program_id)
    .bind(row.referral_id)
    .execute(conn)
    .await
    .map(|done| done.rows_affected()))?;
    if written == 1 { Ok(()) } else { Err(Error::Conflict) }
}

/// A referral.
pub(crate) async fn referral(tx: &mut Tx, program: &ProgramId, id: Uuid) -> Result<Option<Referral>, Error> {
    let row: Option<ReferralRow> = on_engine!(tx, |conn| sqlx::query_as(
        "SELECT program_id, referral_id, version, friend, source, attribute_time, advocate, code, plan_id, plan_version,
                qualify_before, state, reason, ended_by, end_time, purchase_id, qualify_time, auto_approve_time,
                advocate_points, advocate_leg, friend_points, friend_leg
           FROM referrals WHERE program_id = $1 AND referral_id = $2",
    )
    .bind(program.as_str())
    .bind(id)
    .fetch_optional(conn)
    .await)?;
    row.map(ReferralRow::read).transpose()
}

/// The referral by which a friend belongs to an advocate.
pub(crate) async fn binding_referral(tx: &mut Tx, program: &ProgramId, friend: MemberId) -> Result<Option<Referral>, Error> {
    let row: Option<ReferralRow> = on_engine!(tx, |conn| sqlx::query_as(
        "SELECT program_id, referral_id, version, friend, source, attribute_time, advocate, code, plan_id, plan_version,
                qualify_before, state, reason, ended_by, end_time, purchase_id, qualify_time, auto_approve_time,
                advocate_points, advocate_leg, friend_points, friend_leg
           FROM referrals WHERE program_id = $1 AND friend = $2 AND binds_friend = $3",
    )
    .bind(program.as_str())
    .bind(friend.0)
    .bind(true)
    .fetch_optional(conn)
    .await)?;
    row.map(ReferralRow::read).transpose()
}

/// What a list of referrals is narrowed to. All that is set must hold.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    pub(crate) advocate: Option<MemberId>,
    pub(crate) friend: Option<MemberId>,
    pub(crate) state: Option<&'static str>,
}

/// Referrals of a program, newest first, before an id. The ids are ordered by time.
pub(crate) async fn referrals_before(
    tx: &mut Tx,
    program: &ProgramId,
    filter: &Filter,
    before: Uuid,
    limit: i64,
) -> Result<Vec<Referral>, Error> {
    // A condition that is not set is left out of the text, so that each narrowing finds its index on both engines.
    let narrowed = |set: bool, condition: &'static str, open: &'static str| if set { condition } else { open };
    let sql = format!(
        "SELECT program_id, referral_id, version, friend, source, attribute_time, advocate, code, plan_id, plan_version,
                qualify_before, state, reason, ended_by, end_time, purchase_id, qualify_time, auto_approve_time,
                advocate_points, advocate_leg, friend_points, friend_leg
           FROM referrals
          WHERE program_id = $1 AND referral_id < $2 AND {} AND {} AND {}
          ORDER BY referral_id DESC LIMIT $6",
        narrowed(filter.advocate.is_some(), "advocate = $3", "$3 IS NULL"),
        narrowed(filter.friend.is_some(), "friend = $4", "$4 IS NULL"),
        narrowed(filter.state.is_some(), "state = $5", "$5 IS NULL"),
    );
    let rows: Vec<ReferralRow> = on_engine!(tx, |conn| sqlx::query_as(AssertSqlSafe(sql))
        .bind(program.as_str())
        .bind(before)
        .bind(filter.advocate.map(|member| member.0))
        .bind(filter.friend.map(|member| member.0))
        .bind(filter.state)
        .bind(limit)
        .fetch_all(conn)
        .await)?;
    rows.into_iter().map(ReferralRow::read).collect()
}

/// Friends whose referrals are due for approval, the longest due first.
pub(crate) async fn due_friends(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<(ProgramId, MemberId)>, Error> {
    let rows: Vec<(String, Uuid)> = on_engine!(tx, |conn| sqlx::query_as(
        "SELECT program_id, friend FROM referrals
          WHERE state = 'QUALIFIED' AND auto_approve_time <= $1 ORDER BY auto_approve_time LIMIT $2",
    )
    .bind(DbTime(now))
    .bind(limit)
    .fetch_all(conn)
    .await)?;
    rows.into_iter().map(|(program, friend)| Ok((read_program(&program)?, MemberId(friend)))).collect()
}
