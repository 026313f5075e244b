//! The directory of identities: who has what, by keyed hash.
//!
//! An identity is written under the current hash key and found under every key of the keyring, so that keys can be changed
//! while the service runs. With the one key that most have, each function is one statement.

use kernel::{MemberId, ProgramId};
use persistence::{Error, Keyring, Purpose, Tx, on_engine};
use uuid::Uuid;

use crate::domain::identity::Identity;
use crate::domain::member::Member;

/// The member that has an identity.
pub(crate) async fn identity_owner(
    tx: &mut Tx,
    keyring: &Keyring,
    program: &ProgramId,
    identity: &Identity,
) -> Result<Option<MemberId>, Error> {
    for hash in hashes(keyring, program, identity) {
        let owner = owner(tx, program, identity, &hash).await?;
        if owner.is_some() {
            return Ok(owner);
        }
    }
    Ok(None)
}

/// Gives an identity to a member; false when somebody has it already. It waits for a transaction that is about to take it.
pub(crate) async fn claim_identity(tx: &mut Tx, keyring: &Keyring, member: &Member, identity: &Identity) -> Result<bool, Error> {
    for older in hashes(keyring, &member.program, identity).iter().skip(1) {
        if owner(tx, &member.program, identity, older).await?.is_some() {
            return Ok(false);
        }
    }
    let written = on_engine!(tx, |conn| sqlx::query(
        "INSERT INTO member_identities (program_id, kind, hash, member_id)
         VALUES ($1, $2, $3, $4)
         ON CONFLICT (program_id, kind, hash) DO NOTHING"
    )
    .bind(member.program.as_str())
    .bind(identity.kind().as_str())
    .bind(hash(keyring, &member.program, identity))
    .bind(member.id.0)
    .execute(conn)
    .await
    .map(|done| done.rows_affected()))?;
    Ok(written == 1)
}

/// Takes an identity from a member.
pub(crate) async fn release_identity(tx: &mut Tx, keyring: &Keyring, member: &Member, identity: &Identity) -> Result<(), Error> {
    for hash in hashes(keyring, &member.program, identity) {
        on_engine!(tx, |conn| sqlx::query(
            "DELETE FROM member_identities WHERE program_id = $1 AND kind = $2 AND hash = $3 AND member_id = $4"
        )
        .bind(member.program.as_str())
        .bind(identity.kind().as_str())
        .bind(hash)
        .bind(member.id.0)
        .execute(conn)
        .await
        .map(drop))?;
    }
    Ok(())
}

/// The keyed hash that an identity is written under. Identities are claimed in its order: two enrolments that want the same ones
/// then wait one for the other, never each for the other.
pub(crate) fn hash(keyring: &Keyring, program: &ProgramId, identity: &Identity) -> Vec<u8> {
    keyring.hash(Purpose::Identity, &scope(program, identity), identity.hashed_text().as_bytes()).to_vec()
}

/// The hashes with every key, the current one first.
fn hashes(keyring: &Keyring, program: &ProgramId, identity: &Identity) -> Vec<Vec<u8>> {
    let hashes = keyring.hashes(Purpose::Identity, &scope(program, identity), identity.hashed_text().as_bytes());
    hashes.into_iter().map(|(_, hash)| hash.to_vec()).collect()
}

/// The same text in another program or of another kind has another hash.
fn scope(program: &ProgramId, identity: &Identity) -> String {
    format!("{program}/{}", identity.kind().as_str())
}

async fn owner(tx: &mut Tx, program: &ProgramId, identity: &Identity, hash: &[u8]) -> Result<Option<MemberId>, Error> {
    let owner: Option<Uuid> = on_engine!(tx, |conn| sqlx::query_scalar(
        "SELECT member_id FROM member_identities WHERE program_id = $1 AND kind = $2 AND hash = $3"
    )
    .bind(program.as_str())
    .bind(identity.kind().as_str())
    .bind(hash)
    .fetch_optional(conn)
    .await)?;
    Ok(owner.map(MemberId))
}
