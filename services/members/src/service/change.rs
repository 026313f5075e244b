//! Changes to a member that exists: one path for all of them.

use prost::Name;
use proto::check::Checked;

use super::*;

impl Rpcs {
    /// Applies a change of the domain to a member, once however often the request comes.
    pub(super) async fn change<M: Message + Name + Checked>(
        &self,
        (program, id): (Arc<Program>, MemberId),
        request: &M,
        request_id: &str,
        change: impl Fn(Member, Timestamp) -> Result<Member, Error> + Send + Sync,
    ) -> Result<Answer<pb::Member>, Error> {
        let key = RequestKey::new(&self.keyring, &program.id, request_id, request);
        let now = self.context.now();
        retry(|| self.try_change(&key, &program.id, id, now, &change)).await
    }

    async fn try_change(
        &self,
        key: &RequestKey,
        program: &ProgramId,
        id: MemberId,
        now: Timestamp,
        change: &(impl Fn(Member, Timestamp) -> Result<Member, Error> + Send + Sync),
    ) -> Result<Answer<pb::Member>, Error> {
        let mut tx = self.database.begin().await?;
        // Before looking for an answer: the same request may be in work, and is then answered from it.
        store::lock_member(&mut tx, program, id).await?;
        if let Some(first) = self.first_answer(&mut tx, program, key).await? {
            return Ok(first);
        }
        let Stored { member: before, key: data_key } =
            store::member(&mut tx, &self.keyring, program, id).await?.ok_or(Error::MemberNotFound)?;
        let after = change(before.clone(), now)?;
        if after.version != before.version {
            store::update_member(&mut tx, &after, &data_key).await?;
            for identity in only_in(&before, &after) {
                store::release_identity(&mut tx, &self.keyring, &before, identity).await?;
            }
            self.claim(&mut tx, &after, &only_in(&after, &before)).await?;
            tx.append_event(event::changed(&after, self.context.uuid(), now)).await?;
        }
        let answer = self.remember(&mut tx, key, &Stored { member: after, key: data_key }, now).await?;
        tx.commit().await?;
        Ok(answer)
    }
}

/// The identities that the first member holds and the second does not.
fn only_in<'a>(one: &'a Member, other: &Member) -> Vec<&'a Identity> {
    one.held_identities().iter().filter(|identity| !other.held_identities().contains(identity)).collect()
}
