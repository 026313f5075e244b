use std::time::Duration;

use kernel::{MemberId, ProgramId, Timestamp, Uuid};

use super::{Code, CodeState, CodeText, Friend, Plan, PlanId, Purchase};

/// How long before an enrolment with a code a purchase may have occurred and still count.
const ENROLMENT_SLACK: Duration = Duration::from_secs(86_400);

/// One friend brought by one advocate, or what became of a code named at an enrolment that could not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referral {
    /// The id.
    pub id: Uuid,
    /// The program.
    pub program: ProgramId,
    /// Counts the changes, from 1.
    pub version: i64,
    /// The new member.
    pub friend: MemberId,
    /// How the friend was attributed.
    pub source: Source,
    /// When the friend enrolled or was attributed by a call.
    pub attribute_time: Timestamp,
    /// The code and what followed from it; `None` when the code does not exist.
    pub origin: Option<Origin>,
    /// Where the referral is.
    pub state: State,
    /// The rewards: the advocate's, then the friend's, as far as the plan has them.
    pub legs: Vec<Leg>,
}

/// Where a friend came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Who referred.
    pub advocate: MemberId,
    /// By which code.
    pub code: CodeText,
    /// Under which plan.
    pub plan: PlanId,
    /// The plan's version that holds.
    pub plan_version: i64,
    /// The first purchase must occur before.
    pub qualify_before: Timestamp,
}

/// How a friend was attributed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The code was named when enrolling.
    Enrolment,
    /// By a call afterwards.
    Call,
}

/// Where a referral is. `Voided` and `Rejected` are final.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// The friend has not bought.
    Pending,
    /// The friend has bought; waits whether goods go back.
    Qualified(Qualified),
    /// Both sides are rewarded.
    Approved(Qualified),
    /// Ended after attribution.
    Voided {
        /// Why.
        reason: VoidReason,
        /// Who decided it; `None` when a return did.
        by: Option<String>,
        /// When.
        time: Timestamp,
        /// The purchase that had qualified it, if one had.
        qualified: Option<Qualified>,
    },
    /// Never counted.
    Rejected {
        /// Why.
        reason: RejectionReason,
        /// When.
        time: Timestamp,
    },
}

/// What made a referral count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Qualified {
    /// Id of the friend's first purchase.
    pub purchase: String,
    /// When it occurred.
    pub qualify_time: Timestamp,
    /// From when on the referral is approved of itself.
    pub auto_approve_time: Timestamp,
}

/// Why a referral was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectionReason {
    /// The code named at the enrolment does not exist.
    CodeNotFound,
    /// It had expired.
    CodeExpired,
    /// It had been revoked.
    CodeRevoked,
    /// It had been used up.
    CodeExhausted,
    /// The friend named the own code.
    SelfReferral,
    /// The friend has an advocate already.
    AlreadyReferred,
    /// The first purchase was too small.
    PurchaseBelowMinimum,
    /// The first purchase came too late.
    PurchaseTooLate,
    /// The friend had bought before being attributed.
    PurchaseBeforeAttribution,
}

/// Why a referral was voided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VoidReason {
    /// Too little is left of the purchase after returns.
    PurchaseReturned,
    /// The plan was abused.
    Fraud,
    /// The advocate was the wrong one.
    WrongAdvocate,
    /// One of the two asked for it.
    MemberRequest,
    /// Another reason.
    Other,
}

/// A side of a referral.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Who referred.
    Advocate,
    /// Who was referred.
    Friend,
}

impl State {
    /// The state's word: `PENDING`, `QUALIFIED`, `APPROVED`, `VOIDED` or `REJECTED`.
    pub fn as_str(&self) -> &'static str {
        match self {
            State::Pending => "PENDING",
            State::Qualified(_) => "QUALIFIED",
            State::Approved(_) => "APPROVED",
            State::Voided { .. } => "VOIDED",
            State::Rejected { .. } => "REJECTED",
        }
    }
}

impl Role {
    /// `ADVOCATE` or `FRIEND`, as in reward keys.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Advocate => "ADVOCATE",
            Role::Friend => "FRIEND",
        }
    }
}

/// The reward of one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leg {
    /// The side.
    pub role: Role,
    /// The points.
    pub points: i64,
    /// Where the reward is.
    pub state: LegState,
}

/// Where a reward is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LegState {
    /// Waits for the approval.
    Awaiting,
    /// The points service is being told to give it.
    Wanted,
    /// The points service has given it.
    Issued,
    /// The points service is being told to take it back.
    Revoking,
    /// The points service has taken it back.
    Revoked,
    /// The referral ended before its approval.
    Cancelled,
    /// Not given: the advocate has reached the plan's limit, or the member was closed.
    Withheld,
}

/// What the points service has done about a reward, for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// Given it.
    Given,
    /// Taken it back, or made sure that it is never given.
    TakenBack,
    /// Refused to give it: the member is closed, which is final.
    Refused,
}

/// Why a call cannot attribute a friend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttributionRefused {
    /// The code is not good; callers are not told why.
    CodeNotValid,
    /// The friend's enrolment has not been heard of.
    FriendNotKnown,
    /// The friend named the own code.
    SelfReferral,
    /// Too long after the enrolment.
    WindowClosed,
    /// The friend has made the first purchase.
    AlreadyBought,
}

/// The referral has been voided or rejected already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// The state it is in.
    pub state: &'static str,
}

impl Referral {
    /// The referral of a friend who named a code when enrolling. It never fails: a code that cannot be used leaves a rejected
    /// referral, so that support can tell the friend what happened. `found` is `None` when the code does not exist.
    pub fn from_enrolment(
        id: Uuid,
        (program, friend): (&ProgramId, MemberId),
        enroll_time: Timestamp,
        found: Option<(&Code, &Plan)>,
        already_referred: bool,
        now: Timestamp,
    ) -> Referral {
        let rejection = match found {
            None => Some(RejectionReason::CodeNotFound),
            Some((code, _)) if code.advocate == friend => Some(RejectionReason::SelfReferral),
            Some(_) if already_referred => Some(RejectionReason::AlreadyReferred),
            Some((code, _)) => match code.state(enroll_time) {
                CodeState::Active => None,
                CodeState::Expired => Some(RejectionReason::CodeExpired),
                CodeState::Exhausted => Some(RejectionReason::CodeExhausted),
                CodeState::Revoked => Some(RejectionReason::CodeRevoked),
            },
        };
        Referral {
            id,
            program: program.clone(),
            version: 1,
            friend,
            source: Source::Enrolment,
            attribute_time: enroll_time,
            origin: found.map(|(code, plan)| Origin::new(code, plan, enroll_time)),
            legs: if rejection.is_none() { found.map_or_else(Vec::new, |(_, plan)| legs(plan)) } else { Vec::new() },
            state: rejection.map_or(State::Pending, |reason| State::Rejected { reason, time: now }),
        }
    }

    /// The referral of a friend who is attributed by a call. That the friend has no advocate yet is the caller's to make sure.
    pub fn from_call(
        id: Uuid,
        (program, friend): (&ProgramId, MemberId),
        known: &Friend,
        (code, plan): (&Code, &Plan),
        now: Timestamp,
    ) -> Result<Referral, AttributionRefused> {
        let enroll_time = known.enroll_time.ok_or(AttributionRefused::FriendNotKnown)?;
        if code.advocate == friend {
            return Err(AttributionRefused::SelfReferral);
        }
        if code.state(now) != CodeState::Active {
            return Err(AttributionRefused::CodeNotValid);
        }
        if now >= enroll_time + plan.attribution_window {
            return Err(AttributionRefused::WindowClosed);
        }
        if known.first_purchase.is_some() {
            return Err(AttributionRefused::AlreadyBought);
        }
        Ok(Referral {
            id,
            program: program.clone(),
            version: 1,
            friend,
            source: Source::Call,
            attribute_time: now,
            origin: Some(Origin::new(code, plan, enroll_time)),
            state: State::Pending,
            legs: legs(plan),
        })
    }

    /// The next state that follows from what is known, one step at a time, until `None`: nothing follows. Every step is an event of
    /// its own. Which facts were heard first makes no difference to where it ends.
    pub fn next(&self, plan: &Plan, friend: &Friend, now: Timestamp) -> Option<Referral> {
        let purchase = friend.first_purchase.as_ref()?;
        let origin = self.origin.as_ref()?;
        let minimum = plan.minimum_net.minor;
        match &self.state {
            State::Pending => Some(match self.reject(origin, purchase, minimum) {
                Some(reason) => self.moved(State::Rejected { reason, time: now }),
                None => self.moved(State::Qualified(Qualified {
                    purchase: purchase.id.clone(),
                    qualify_time: purchase.occur_time,
                    auto_approve_time: purchase.occur_time + plan.hold,
                })),
            }),
            State::Qualified(qualified) | State::Approved(qualified) if !purchase.still_meets(minimum) => Some(self.moved(State::Voided {
                reason: VoidReason::PurchaseReturned,
                by: None,
                time: now,
                qualified: Some(qualified.clone()),
            })),
            State::Qualified(qualified) if qualified.auto_approve_time <= now => Some(self.moved(State::Approved(qualified.clone()))),
            State::Qualified(_) | State::Approved(_) | State::Voided { .. } | State::Rejected { .. } => None,
        }
    }

    /// Why a first purchase does not count. What was bought before is not the advocate's doing; but a till that enrols while the
    /// basket is rung up may tell of the purchase as a little earlier, or offline and by a clock of its own.
    fn reject(&self, origin: &Origin, purchase: &Purchase, minimum: i64) -> Option<RejectionReason> {
        let slack = match self.source {
            Source::Enrolment => ENROLMENT_SLACK,
            Source::Call => Duration::ZERO,
        };
        if purchase.occur_time + slack < self.attribute_time {
            Some(RejectionReason::PurchaseBeforeAttribution)
        } else if purchase.occur_time >= origin.qualify_before {
            Some(RejectionReason::PurchaseTooLate)
        } else if purchase.net_minor < minimum {
            Some(RejectionReason::PurchaseBelowMinimum)
        } else {
            None
        }
    }

    /// Ends the referral by decision.
    pub fn voided(&self, reason: VoidReason, by: String, now: Timestamp) -> Result<Referral, Ended> {
        let qualified = match &self.state {
            State::Pending => None,
            State::Qualified(qualified) | State::Approved(qualified) => Some(qualified.clone()),
            State::Voided { .. } | State::Rejected { .. } => return Err(Ended { state: self.state.as_str() }),
        };
        Ok(self.moved(State::Voided { reason, by: Some(by), time: now, qualified }))
    }

    /// The same referral without a reward for its advocate, who has reached the plan's limit.
    #[must_use]
    pub fn advocate_withheld(mut self) -> Referral {
        for leg in self.legs.iter_mut().filter(|leg| leg.role == Role::Advocate) {
            leg.state = LegState::Withheld;
        }
        self
    }

    /// The points service has answered what was wanted of a leg. `None` when the leg wants something else by now, for which another
    /// answer will come.
    pub fn settled(&self, role: Role, settlement: Settlement) -> Option<Referral> {
        let mut next = self.clone();
        let leg = next.legs.iter_mut().find(|leg| leg.role == role)?;
        leg.state = match (leg.state, settlement) {
            (LegState::Wanted, Settlement::Given) => LegState::Issued,
            (LegState::Wanted, Settlement::Refused) => LegState::Withheld,
            (LegState::Revoking, Settlement::TakenBack) => LegState::Revoked,
            _ => return None,
        };
        next.version += 1;
        Some(next)
    }

    /// Whether the friend belongs to the advocate for life: so it is from the attribution on, whatever becomes of the referral.
    pub fn binds_friend(&self) -> bool {
        !matches!(
            self.state,
            State::Rejected {
                reason: RejectionReason::CodeNotFound
                    | RejectionReason::CodeExpired
                    | RejectionReason::CodeRevoked
                    | RejectionReason::CodeExhausted
                    | RejectionReason::SelfReferral
                    | RejectionReason::AlreadyReferred,
                ..
            }
        )
    }

    /// Whether the advocate's reward counts against the plan's limit.
    pub fn rewards_advocate(&self) -> bool {
        self.legs.iter().any(|leg| leg.role == Role::Advocate && matches!(leg.state, LegState::Wanted | LegState::Issued))
    }

    /// The member on a side; `None` for the advocate of an unknown code.
    pub fn member(&self, role: Role) -> Option<MemberId> {
        match role {
            Role::Advocate => self.origin.as_ref().map(|origin| origin.advocate),
            Role::Friend => Some(self.friend),
        }
    }

    /// `programs/{program}/referrals/{referral}`.
    pub fn name(&self) -> String {
        format!("programs/{}/referrals/{}", self.program, self.id)
    }

    /// The natural key of one side's reward: `referral/{referral}/{role}`.
    pub fn reward_key(&self, role: Role) -> String {
        format!("referral/{}/{}", self.id, role.as_str())
    }

    fn moved(&self, state: State) -> Referral {
        let legs = self.legs.iter().map(|leg| Leg { state: leg_after(leg.state, &state), ..*leg }).collect();
        Referral { version: self.version + 1, state, legs, ..self.clone() }
    }
}

impl Origin {
    fn new(code: &Code, plan: &Plan, enroll_time: Timestamp) -> Origin {
        Origin {
            advocate: code.advocate,
            code: code.text.clone(),
            plan: plan.id.clone(),
            plan_version: plan.version,
            qualify_before: enroll_time + plan.within,
        }
    }
}

fn legs(plan: &Plan) -> Vec<Leg> {
    [(Role::Advocate, plan.advocate_points), (Role::Friend, plan.friend_points)]
        .into_iter()
        .filter_map(|(role, points)| points.map(|points| Leg { role, points, state: LegState::Awaiting }))
        .collect()
}

/// Where a reward goes when its referral moves.
fn leg_after(leg: LegState, state: &State) -> LegState {
    match (leg, state) {
        (LegState::Awaiting, State::Approved(_)) => LegState::Wanted,
        (LegState::Awaiting, State::Voided { .. } | State::Rejected { .. }) => LegState::Cancelled,
        (LegState::Wanted | LegState::Issued, State::Voided { .. }) => LegState::Revoking,
        (unchanged, _) => unchanged,
    }
}
