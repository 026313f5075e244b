use kernel::{MemberId, ProgramId, Timestamp, Uuid};

use super::{Purchase, Refusal, Survey, SurveyState};

/// When a purchase is asked about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    /// From when the invitation may be sent.
    pub due_time: Timestamp,
    /// Until when it may be answered, exclusive.
    pub expire_time: Timestamp,
    /// The purchase is among the share that is asked about.
    pub sampled: bool,
}

/// Why an invitation was not sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SuppressReason {
    /// Not among the share that is asked about.
    SampledOut,
    /// The member was contacted too short a time ago.
    Recontact,
    /// The survey did not ask when it fell due.
    SurveyPaused,
}

/// Where an invitation stands, with what only that state has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InvitationState {
    /// Waits for its due time.
    Scheduled,
    /// Waits for a sender.
    Due,
    /// Went out.
    Sent {
        /// When first.
        send_time: Timestamp,
    },
    /// There is a response.
    Answered {
        /// When it went out, or was answered without.
        send_time: Timestamp,
        /// The response.
        response: Uuid,
    },
    /// The purchase went back before it was sent.
    Cancelled,
    /// Its time passed.
    Expired {
        /// When it went out, if it did.
        send_time: Option<Timestamp>,
    },
    /// Deliberately not sent.
    Suppressed {
        /// Why.
        reason: SuppressReason,
    },
}

/// One member asked by one survey about one purchase.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Invitation {
    /// The program.
    pub program: ProgramId,
    /// Its id.
    pub id: Uuid,
    /// The survey's id.
    pub survey: String,
    /// Who is asked.
    pub member: MemberId,
    /// The purchase's id.
    pub purchase: String,
    /// The store's id; empty when not known.
    pub store: String,
    /// Where it stands.
    pub state: InvitationState,
    /// From when it may be sent.
    pub due_time: Timestamp,
    /// Until when it may be answered, exclusive.
    pub expire_time: Timestamp,
    /// When it was made.
    pub create_time: Timestamp,
    /// When its state changed last.
    pub update_time: Timestamp,
    /// Changes so far, 1 when made.
    pub version: i64,
}

impl SuppressReason {
    /// Every reason.
    pub const ALL: [SuppressReason; 3] = [SuppressReason::SampledOut, SuppressReason::Recontact, SuppressReason::SurveyPaused];

    /// The word for it in the database.
    pub fn word(self) -> &'static str {
        match self {
            SuppressReason::SampledOut => "SAMPLED_OUT",
            SuppressReason::Recontact => "RECONTACT",
            SuppressReason::SurveyPaused => "SURVEY_PAUSED",
        }
    }
}

impl InvitationState {
    /// The word for it in the database and on the feed.
    pub fn word(&self) -> &'static str {
        match self {
            InvitationState::Scheduled => "SCHEDULED",
            InvitationState::Due => "DUE",
            InvitationState::Sent { .. } => "SENT",
            InvitationState::Answered { .. } => "ANSWERED",
            InvitationState::Cancelled => "CANCELLED",
            InvitationState::Expired { .. } => "EXPIRED",
            InvitationState::Suppressed { .. } => "SUPPRESSED",
        }
    }
}

impl Invitation {
    /// The invitation to answer a survey about a purchase.
    pub fn new(id: Uuid, survey: &Survey, purchase: &Purchase, plan: Plan, now: Timestamp) -> Invitation {
        let Plan { due_time, expire_time, sampled } = plan;
        let state = if sampled { InvitationState::Scheduled } else { InvitationState::Suppressed { reason: SuppressReason::SampledOut } };
        Invitation {
            program: survey.program.clone(),
            id,
            survey: survey.id.clone(),
            member: purchase.member,
            purchase: purchase.id.clone(),
            store: purchase.store.clone(),
            state,
            due_time,
            expire_time,
            create_time: now,
            update_time: now,
            version: 1,
        }
    }

    /// `programs/{program}/invitations/{invitation}`.
    pub fn name(&self) -> String {
        format!("programs/{}/invitations/{}", self.program, self.id)
    }

    /// When it went out.
    pub fn send_time(&self) -> Option<Timestamp> {
        match self.state {
            InvitationState::Sent { send_time } | InvitationState::Answered { send_time, .. } => Some(send_time),
            InvitationState::Expired { send_time } => send_time,
            InvitationState::Scheduled | InvitationState::Due | InvitationState::Cancelled | InvitationState::Suppressed { .. } => None,
        }
    }

    /// When time alone will move it next.
    pub fn next_time(&self) -> Option<Timestamp> {
        match self.state {
            InvitationState::Scheduled => Some(self.due_time),
            InvitationState::Due | InvitationState::Sent { .. } => Some(self.expire_time),
            InvitationState::Answered { .. }
            | InvitationState::Cancelled
            | InvitationState::Expired { .. }
            | InvitationState::Suppressed { .. } => None,
        }
    }

    /// Ends it once its time has passed. The same invitation when it has not, or when it has ended otherwise.
    pub fn expire(self, now: Timestamp) -> Invitation {
        let open = matches!(self.state, InvitationState::Scheduled | InvitationState::Due | InvitationState::Sent { .. });
        let send_time = self.send_time();
        if open && self.is_over(now) { self.moved(InvitationState::Expired { send_time }, now) } else { self }
    }

    /// What a scheduled invitation becomes at its due time. `contact` says whether the member may be contacted now.
    pub fn fall_due(self, survey: SurveyState, contact: bool, now: Timestamp) -> Invitation {
        let state = match (survey, contact) {
            (SurveyState::Active, true) => InvitationState::Due,
            (SurveyState::Active, false) => InvitationState::Suppressed { reason: SuppressReason::Recontact },
            (SurveyState::Draft | SurveyState::Paused, _) => InvitationState::Suppressed { reason: SuppressReason::SurveyPaused },
        };
        self.moved(state, now)
    }

    /// Ends it because its purchase went back as a whole. `None` when it was sent or has ended: what went out stays answerable.
    pub fn cancel(self, now: Timestamp) -> Option<Invitation> {
        match self.state {
            InvitationState::Scheduled | InvitationState::Due => Some(self.moved(InvitationState::Cancelled, now)),
            InvitationState::Sent { .. }
            | InvitationState::Answered { .. }
            | InvitationState::Cancelled
            | InvitationState::Expired { .. }
            | InvitationState::Suppressed { .. } => None,
        }
    }

    /// Hands it to a sender. One that was sent before keeps its first send time.
    pub fn send(self, survey: SurveyState, now: Timestamp) -> Result<Invitation, Refusal> {
        let send_time = match self.state {
            InvitationState::Scheduled => return Err(Refusal::InvitationNotDue),
            InvitationState::Expired { .. } => return Err(Refusal::InvitationExpired),
            InvitationState::Answered { .. } | InvitationState::Cancelled | InvitationState::Suppressed { .. } => {
                return Err(Refusal::InvitationClosed);
            }
            InvitationState::Due | InvitationState::Sent { .. } if self.is_over(now) => return Err(Refusal::InvitationExpired),
            InvitationState::Due => now,
            InvitationState::Sent { send_time } => send_time,
        };
        if survey != SurveyState::Active {
            return Err(Refusal::SurveyPaused);
        }
        Ok(self.moved(InvitationState::Sent { send_time }, now))
    }

    /// Takes a response. One that never went out (asked at the counter) counts as delivered by being answered.
    pub fn answer(self, response: Uuid, now: Timestamp) -> Result<Invitation, Refusal> {
        let send_time = match self.state {
            InvitationState::Scheduled => return Err(Refusal::InvitationNotDue),
            InvitationState::Expired { .. } => return Err(Refusal::InvitationExpired),
            InvitationState::Cancelled | InvitationState::Suppressed { .. } => return Err(Refusal::InvitationClosed),
            InvitationState::Answered { .. } => return Err(Refusal::InvitationAnswered),
            InvitationState::Due | InvitationState::Sent { .. } if self.is_over(now) => return Err(Refusal::InvitationExpired),
            InvitationState::Due => now,
            InvitationState::Sent { send_time } => send_time,
        };
        Ok(self.moved(InvitationState::Answered { send_time, response }, now))
    }

    /// Judged by the clock, so that it holds before the job has come round.
    fn is_over(&self, now: Timestamp) -> bool {
        now >= self.expire_time
    }

    fn moved(self, state: InvitationState, now: Timestamp) -> Invitation {
        Invitation { state, update_time: now, version: self.version + 1, ..self }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::survey::tests::at;
    use super::*;

    const BEFORE: &str = "2026-05-03T00:00:00Z";
    const DUE: &str = "2026-05-04T00:00:00Z";
    const SENT: &str = "2026-05-04T09:00:00Z";
    const LATER: &str = "2026-05-05T00:00:00Z";
    const END: &str = "2026-05-18T00:00:00Z";

    fn response() -> Uuid {
        Uuid::from_u128(9)
    }

    fn invitation(state: InvitationState) -> Invitation {
        Invitation {
            program: ProgramId::parse("tea").unwrap(),
            id: Uuid::from_u128(1),
            survey: "nps".to_owned(),
            member: MemberId(Uuid::from_u128(2)),
            purchase: "p1".to_owned(),
            store: String::new(),
            state,
            due_time: at(DUE),
            expire_time: at(END),
            create_time: at("2026-05-01T00:00:00Z"),
            update_time: at("2026-05-01T00:00:00Z"),
            version: 1,
        }
    }

    fn states() -> Vec<InvitationState> {
        vec![
            InvitationState::Scheduled,
            InvitationState::Due,
            InvitationState::Sent { send_time: at(SENT) },
            InvitationState::Answered { send_time: at(SENT), response: response() },
            InvitationState::Cancelled,
            InvitationState::Expired { send_time: None },
            InvitationState::Suppressed { reason: SuppressReason::Recontact },
        ]
    }

    /// One row for each state: what it becomes, or why not, by cancel, send and answer.
    #[test]
    fn the_table_of_transitions() {
        let sent = |time| Ok(InvitationState::Sent { send_time: at(time) });
        let answered = |time| Ok(InvitationState::Answered { send_time: at(time), response: response() });
        let table = [
            (Some(InvitationState::Cancelled), Err(Refusal::InvitationNotDue), Err(Refusal::InvitationNotDue)),
            (Some(InvitationState::Cancelled), sent(LATER), answered(LATER)),
            (None, sent(SENT), answered(SENT)),
            (None, Err(Refusal::InvitationClosed), Err(Refusal::InvitationAnswered)),
            (None, Err(Refusal::InvitationClosed), Err(Refusal::InvitationClosed)),
            (None, Err(Refusal::InvitationExpired), Err(Refusal::InvitationExpired)),
            (None, Err(Refusal::InvitationClosed), Err(Refusal::InvitationClosed)),
        ];
        for (state, (cancel, send, answer)) in states().into_iter().zip(table) {
            let now = at(LATER);
            assert_eq!(invitation(state).cancel(now).map(|after| after.state), cancel, "cancel {state:?}");
            assert_eq!(invitation(state).send(SurveyState::Active, now).map(|after| after.state), send, "send {state:?}");
            assert_eq!(invitation(state).answer(response(), now).map(|after| after.state), answer, "answer {state:?}");
        }
    }

    #[test]
    fn time_is_judged_without_the_job() {
        for state in [InvitationState::Due, InvitationState::Sent { send_time: at(SENT) }] {
            assert_eq!(invitation(state).send(SurveyState::Active, at(END)), Err(Refusal::InvitationExpired));
            assert_eq!(invitation(state).answer(response(), at(END)), Err(Refusal::InvitationExpired));
        }
    }

    #[test]
    fn a_paused_survey_sends_nothing() {
        for state in [InvitationState::Due, InvitationState::Sent { send_time: at(SENT) }] {
            assert_eq!(invitation(state).send(SurveyState::Paused, at(LATER)), Err(Refusal::SurveyPaused));
        }
    }

    #[test]
    fn what_falls_due_is_sent_or_suppressed() {
        let suppressed = |reason| InvitationState::Suppressed { reason };
        for (survey, contact, state) in [
            (SurveyState::Active, true, InvitationState::Due),
            (SurveyState::Active, false, suppressed(SuppressReason::Recontact)),
            (SurveyState::Paused, true, suppressed(SuppressReason::SurveyPaused)),
            (SurveyState::Paused, false, suppressed(SuppressReason::SurveyPaused)),
        ] {
            assert_eq!(invitation(InvitationState::Scheduled).fall_due(survey, contact, at(DUE)).state, state);
        }
    }

    #[test]
    fn the_job_sees_each_state_when_it_must() {
        let next = [Some(DUE), Some(END), Some(END), None, None, None, None];
        for (state, next) in states().into_iter().zip(next) {
            assert_eq!(invitation(state).next_time(), next.map(at), "{state:?}");
            assert_eq!(invitation(state).expire(at(BEFORE)), invitation(state), "{state:?}");
            let after = invitation(state).expire(at(END));
            assert_eq!(
                matches!(after.state, InvitationState::Expired { .. }),
                next.is_some() || matches!(state, InvitationState::Expired { .. })
            );
            assert_eq!(after.send_time(), invitation(state).send_time(), "{state:?}");
        }
    }

    proptest! {
        /// Whatever happens in whatever order: versions have no gaps, what has ended stays ended, and a send time never moves.
        #[test]
        fn any_history_is_sound(steps in prop::collection::vec((0_u8..6, 0_i64..30), 1..30)) {
            let mut now = at(BEFORE);
            let mut current = invitation(InvitationState::Scheduled);
            for (step, hours) in steps {
                now = now + std::time::Duration::from_secs(u64::try_from(hours).unwrap() * 3600);
                let before = current.clone();
                current = match step {
                    0 => current.cancel(now).unwrap_or_else(|| before.clone()),
                    1 => current.send(SurveyState::Active, now).unwrap_or_else(|_| before.clone()),
                    2 => current.answer(response(), now).unwrap_or_else(|_| before.clone()),
                    3 => current.expire(now),
                    4 | 5 if before.state == InvitationState::Scheduled => current.fall_due(SurveyState::Active, step == 4, now),
                    _ => current,
                };
                let changed = current.state != before.state;
                prop_assert!(current.version == before.version || current.version == before.version + 1);
                prop_assert!(!changed || current.version == before.version + 1);
                prop_assert!(!changed || before.next_time().is_some());
                prop_assert!(before.send_time().is_none() || current.send_time() == before.send_time());
            }
        }
    }
}
