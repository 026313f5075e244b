//! The statements of the members service. A function is one statement.

use kernel::{MemberId, ProgramId};
use persistence::{Connection, DataKey, DbTime, Error, Keyring, Tx, on_engine};
use uuid::Uuid;

use crate::domain::member::{Enrolment, Member, State};
use crate::message;

mod access;
mod identities;
mod profile;

pub(crate) use access::{Access, accesses, insert_access};
pub(crate) use identities::{claim_identity, hash, identity_owner, release_identity};

/// What a sealed profile is sealed as. The key is the member's own, so that no other member's profile opens in its place.
const PROFILE: &str = "member profile";

/// A member as it is stored, with the key that its personal data is sealed under.
pub(crate) struct Stored {
    pub(crate) member: Member,
    pub(crate) key: DataKey,
}

#[derive(sqlx::FromRow)]
struct MemberRow {
    member_id: Uuid,
    version: i64,
    state: i64,
    state_reason: String,
    state_time: DbTime,
    enrol_time: DbTime,
    channel: String,
    store: String,
    referral_code: String,
    create_time: DbTime,
    update_time: DbTime,
    data_key: Vec<u8>,
    profile: Vec<u8>,
}

impl MemberRow {
    fn open(self, keyring: &Keyring, program: &ProgramId) -> Result<Stored, Error> {
        let MemberRow {
            member_id,
            version,
            state,
            state_reason,
            state_time,
            enrol_time,
            channel,
            store,
            referral_code,
            create_time,
            update_time,
            data_key,
            profile,
        } = self;
        let id = MemberId(member_id);
        let damaged = |what: &str| Error::Corrupt(format!("{what} of {}", id.name(program)));
        let key = keyring.unwrap(member_id, &data_key)?;
        let profile = key.open(PROFILE, &profile)?;
        let member = Member {
            program: program.clone(),
            id,
            state: match state {
                1 => State::Active,
                2 => State::Blocked { reason: state_reason },
                3 => State::Closed { reason: state_reason },
                _ => return Err(damaged("state")),
            },
            state_time: state_time.into(),
            profile: profile::decode(&profile).ok_or_else(|| damaged("profile"))?,
            enrolment: Enrolment { time: enrol_time.into(), channel, store, referral_code },
            create_time: create_time.into(),
            update_time: update_time.into(),
            version,
        };
        Ok(Stored { member, key })
    }
}

/// Keeps others from changing a member until the transaction ends, so that what is read from here on is what is written over.
pub(crate) async fn lock_member(tx: &mut Tx, program: &ProgramId, id: MemberId) -> Result<(), Error> {
    match tx.connection() {
        Connection::Postgres(conn) => {
            sqlx::query("SELECT 1 FROM members WHERE program_id = $1 AND member_id = $2 FOR UPDATE")
                .bind(program.as_str())
                .bind(id.0)
                .execute(conn)
                .await?;
        }
        // A transaction that writes is the only one.
        Connection::Sqlite(_) => {}
    }
    Ok(())
}

/// Reads a member.
pub(crate) async fn member(tx: &mut Tx, keyring: &Keyring, program: &ProgramId, id: MemberId) -> Result<Option<Stored>, Error> {
    let row: Option<MemberRow> = on_engine!(tx, |conn| sqlx::query_as(
        "SELECT member_id, version, state, state_reason, state_time, enrol_time, channel, store, referral_code,
                create_time, update_time, data_key, profile
           FROM members
          WHERE program_id = $1 AND member_id = $2"
    )
    .bind(program.as_str())
    .bind(id.0)
    .fetch_optional(conn)
    .await)?;
    row.map(|row| row.open(keyring, program)).transpose()
}

/// Reads the key of a member.
pub(crate) async fn data_key(tx: &mut Tx, keyring: &Keyring, program: &ProgramId, id: MemberId) -> Result<Option<DataKey>, Error> {
    let wrapped: Option<Vec<u8>> =
        on_engine!(tx, |conn| sqlx::query_scalar("SELECT data_key FROM members WHERE program_id = $1 AND member_id = $2")
            .bind(program.as_str())
            .bind(id.0)
            .fetch_optional(conn)
            .await)?;
    wrapped.map(|wrapped| keyring.unwrap(id.0, &wrapped)).transpose()
}

/// Reads the members after one, by id, at most `limit` of them.
pub(crate) async fn members(
    tx: &mut Tx,
    keyring: &Keyring,
    program: &ProgramId,
    state: Option<i64>,
    after: Uuid,
    limit: i64,
) -> Result<Vec<Member>, Error> {
    let rows: Vec<MemberRow> = on_engine!(tx, |conn| sqlx::query_as(
        "SELECT member_id, version, state, state_reason, state_time, enrol_time, channel, store, referral_code,
                create_time, update_time, data_key, profile
           FROM members
          WHERE program_id = $1 AND member_id > $2 AND (state = $3 OR $3 IS NULL)
          ORDER BY member_id
          LIMIT $4"
    )
    .bind(program.as_str())
    .bind(after)
    .bind(state)
    .bind(limit)
    .fetch_all(conn)
    .await)?;
    rows.into_iter().map(|row| row.open(keyring, program).map(|stored| stored.member)).collect()
}

/// Writes a new member, its key (as the keyring has wrapped it) and what is sealed under that key.
pub(crate) async fn insert_member(tx: &mut Tx, member: &Member, key: &DataKey, wrapped: &[u8]) -> Result<(), Error> {
    let sealed = key.seal(PROFILE, &profile::encode(&member.profile));
    let Member { program, id, state, state_time, profile: _, enrolment, create_time, update_time, version } = member;
    let Enrolment { time, channel, store, referral_code } = enrolment;
    on_engine!(tx, |conn| sqlx::query(
        "INSERT INTO members (program_id, member_id, version, state, state_reason, state_time, enrol_time, channel, store,
                              referral_code, create_time, update_time, data_key, profile)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"
    )
    .bind(program.as_str())
    .bind(id.0)
    .bind(*version)
    .bind(i64::from(i32::from(message::state(state))))
    .bind(message::state_reason(state))
    .bind(DbTime(*state_time))
    .bind(DbTime(*time))
    .bind(channel)
    .bind(store)
    .bind(referral_code)
    .bind(DbTime(*create_time))
    .bind(DbTime(*update_time))
    .bind(wrapped)
    .bind(sealed)
    .execute(conn)
    .await
    .map(drop))?;
    Ok(())
}

/// Writes a member back that was read one version earlier. One that has changed since then is a conflict.
pub(crate) async fn update_member(tx: &mut Tx, member: &Member, key: &DataKey) -> Result<(), Error> {
    let sealed = key.seal(PROFILE, &profile::encode(&member.profile));
    // How it was enrolled never changes.
    let Member { program, id, state, state_time, profile: _, enrolment: _, create_time: _, update_time, version } = member;
    let written = on_engine!(tx, |conn| sqlx::query(
        "UPDATE members
            SET version = $3, state = $4, state_reason = $5, state_time = $6, update_time = $7, profile = $8
          WHERE program_id = $1 AND member_id = $2 AND version = $3 - 1"
    )
    .bind(program.as_str())
    .bind(id.0)
    .bind(*version)
    .bind(i64::from(i32::from(message::state(state))))
    .bind(message::state_reason(state))
    .bind(DbTime(*state_time))
    .bind(DbTime(*update_time))
    .bind(sealed)
    .execute(conn)
    .await
    .map(|done| done.rows_affected()))?;
    if written == 1 { Ok(()) } else { Err(Error::Conflict) }
}
