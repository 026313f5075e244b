//! What the feed tells of invitations: names and states, never tokens, scores or comments.

use kernel::Context;
use persistence::NewEvent;
use proto::events::{SurveyInvitationChanged, event::Payload};
use rpc::feed::{About, event};

use crate::domain::Invitation;

/// The event of an invitation's last change, to be appended in the transaction that wrote it.
pub(crate) fn invitation_changed(invitation: &Invitation, context: &Context) -> NewEvent {
    let program = &invitation.program;
    let about = About {
        program: program.name(),
        member: invitation.member.name(program),
        aggregate: invitation.name(),
        aggregate_version: invitation.version,
        occur_time: invitation.update_time,
        historical: false,
    };
    let changed = SurveyInvitationChanged {
        invitation: invitation.name(),
        survey: format!("programs/{program}/surveys/{}", invitation.survey),
        state: invitation.state.word().to_owned(),
        purchase: format!("programs/{program}/purchases/{}", invitation.purchase),
    };
    event(context, about, Payload::SurveyInvitationChanged(changed))
}
