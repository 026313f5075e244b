//! Enrolment.

use super::parse::Enrol;
use super::*;

impl Rpcs {
    pub(super) async fn try_enrol(
        &self,
        program: &ProgramId,
        command: &Enrol,
        key: &RequestKey,
        now: Timestamp,
    ) -> Result<Answer<pb::Member>, Error> {
        let mut tx = self.database.begin().await?;
        if let Some(first) = self.first_answer(&mut tx, program, key).await? {
            return Ok(first);
        }
        command.check_time(&self.clock.believed(now))?;
        if command.returns_existing
            && let Some(existing) = self.existing(&mut tx, program, command).await?
        {
            let answer = self.remember(&mut tx, key, &existing, now).await?;
            tx.commit().await?;
            return Ok(answer);
        }
        let id = MemberId(self.context.uuid());
        let member = Member::enrol(program.clone(), id, command.profile.clone(), command.enrolment.clone(), now);
        let (data_key, wrapped) = self.keyring.new_data_key(id.0);
        let identities: Vec<&Identity> = member.held_identities().iter().collect();
        match self.claim(&mut tx, &member, &identities).await {
            // Taken just now, by the same request sent twice or by another for the same person: the next attempt finds what that did.
            Err(Error::IdentityTaken { .. }) if command.returns_existing || tx.remembered(key).await?.is_some() => {
                return Err(persistence::Error::Conflict.into());
            }
            claimed => claimed?,
        }
        store::insert_member(&mut tx, &member, &data_key, &wrapped).await?;
        tx.append_event(event::enrolled(&member, command.historical, self.context.uuid(), now)).await?;
        let answer = self.remember(&mut tx, key, &Stored { member, key: data_key }, now).await?;
        tx.commit().await?;
        Ok(answer)
    }

    /// The member that has one of the identities. Two who have different ones cannot both be meant.
    async fn existing(&self, tx: &mut Tx, program: &ProgramId, command: &Enrol) -> Result<Option<Stored>, Error> {
        let mut found: Option<MemberId> = None;
        for identity in &command.profile.identities {
            match (found, store::identity_owner(tx, &self.keyring, program, identity).await?) {
                (Some(one), Some(other)) if one != other => {
                    return Err(Error::IdentityTaken { kind: identity.kind(), member: other.name(program) });
                }
                (_, owner) => found = found.or(owner),
            }
        }
        match found {
            Some(id) => Ok(store::member(tx, &self.keyring, program, id).await?),
            None => Ok(None),
        }
    }
}
