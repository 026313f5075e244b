//! What the points feed means for surveys: a purchase is asked about, one that went back is not.

use kernel::{Currency, Money, ProgramId, Timestamp, name};
use persistence::{Error, Tx};
use proto::common;
use proto::events::event::Payload;
use proto::events::{Event, PurchaseRecorded};
use rpc::{EventHandler, HandlerError};

use crate::domain::{Invitation, InvitationState, Purchase};
use crate::service::Rpcs;
use crate::{event, store};

impl EventHandler for Rpcs {
    /// Does what an event asks for, in the transaction that moves the cursor. Telling it again changes nothing, and so does
    /// telling a purchase after its return.
    async fn handle(&self, tx: &mut Tx, event: &Event) -> Result<(), HandlerError> {
        match &event.payload {
            // A stranger cannot be asked, and old data is not news.
            Some(Payload::PurchaseRecorded(_)) if event.member.is_empty() || event.historical => Ok(()),
            Some(Payload::PurchaseRecorded(recorded)) => {
                let malformed = || HandlerError::refused("a recorded purchase is not whole");
                let (program, purchase) = read_purchase(event, recorded).ok_or_else(malformed)?;
                self.invite(tx, &program, &purchase).await
            }
            Some(Payload::PurchaseReturned(returned)) if returned.complete => {
                let malformed = || HandlerError::refused("a return names no purchase");
                let (program, purchase) = purchase_name(&returned.purchase).ok_or_else(malformed)?;
                Ok(self.uninvite(tx, &program, purchase).await?)
            }
            _ => Ok(()),
        }
    }
}

impl Rpcs {
    /// Every active survey makes up its mind about a purchase.
    async fn invite(&self, tx: &mut Tx, program: &ProgramId, purchase: &Purchase) -> Result<(), HandlerError> {
        if store::is_returned(tx, program, &purchase.id).await? {
            return Ok(());
        }
        let unknown = || HandlerError::refused("a purchase in a program that the directory does not have");
        let known = self.directory.program(program).await?.ok_or_else(unknown)?;
        let now = self.context.now();
        for survey in store::active_surveys(tx, program).await? {
            let Some(plan) = survey.plan(purchase, &known.zone, now) else { continue };
            let invitation = Invitation::new(self.context.uuid(), &survey, purchase, plan, now);
            if store::insert_invitation(tx, &invitation).await? {
                tx.append_event(event::invitation_changed(&invitation, &self.context)).await?;
            }
        }
        Ok(())
    }

    /// Nobody is asked about goods that went back, unless the question is out already.
    async fn uninvite(&self, tx: &mut Tx, program: &ProgramId, purchase: &str) -> Result<(), Error> {
        let now = self.context.now();
        store::insert_returned_purchase(tx, program, purchase, now).await?;
        for invitation in store::invitations_about(tx, program, purchase).await? {
            let was_due = invitation.state == InvitationState::Due;
            let Some(cancelled) = invitation.cancel(now) else { continue };
            store::update_invitation(tx, &cancelled).await?;
            if was_due {
                store::release_contact(tx, &cancelled).await?;
            }
            tx.append_event(event::invitation_changed(&cancelled, &self.context)).await?;
        }
        Ok(())
    }
}

/// A member's purchase; `None` for an event that is not whole.
fn read_purchase(event: &Event, recorded: &PurchaseRecorded) -> Option<(ProgramId, Purchase)> {
    let (program, id) = purchase_name(&recorded.purchase)?;
    let (_, member) = name::member(&event.member).ok()?;
    let occur_time = event.occur_time.as_ref()?;
    let purchase = Purchase {
        member,
        id: id.to_owned(),
        store: store_id(&recorded.store)?,
        channel: recorded.channel.clone(),
        net: recorded.net.as_ref().and_then(money),
        occur_time: Timestamp::from_parts(occur_time.seconds, occur_time.nanos)?,
    };
    Some((program, purchase))
}

fn purchase_name(text: &str) -> Option<(ProgramId, &str)> {
    let [program, purchase] = name::segments(text, "programs/{program}/purchases/{purchase}").ok()?;
    Some((ProgramId::parse(program).ok()?, purchase))
}

/// The id of a store; empty when none is told.
fn store_id(text: &str) -> Option<String> {
    if text.is_empty() {
        return Some(String::new());
    }
    let [_, store] = name::segments(text, "programs/{program}/stores/{store}").ok()?;
    Some(store.to_owned())
}

fn money(net: &common::Money) -> Option<Money> {
    Some(Money { currency: Currency::parse(&net.currency_code).ok()?, minor: net.minor_units })
}
