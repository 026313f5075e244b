use std::ops::RangeInclusive;
use std::time::Duration;

use kernel::{MemberId, Money, Period, ProgramId, Timestamp, Zone};

use super::{Plan, Refusal};

/// What a score means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Net promoter score, 0 to 10.
    Nps,
}

/// Where a survey stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SurveyState {
    /// Made, never activated.
    Draft,
    /// Asks.
    Active,
    /// Asks nobody until it is activated again.
    Paused,
}

/// A question that members of a program are asked on an occasion.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Survey {
    /// The program.
    pub program: ProgramId,
    /// Its id in the program.
    pub id: String,
    /// What a score means.
    pub kind: Kind,
    /// What the company calls it.
    pub display_name: String,
    /// The question; may be empty.
    pub question: String,
    /// Where it stands.
    pub state: SurveyState,
    /// The occasion.
    pub trigger: AfterPurchase,
    /// From the due time of an invitation to its end.
    pub expire_after: Period,
    /// Days of 24 hours between two invitations to a member, whichever survey sent the first; 0 for none.
    pub recontact_days: u32,
    /// Of 100 occasions, so many are asked about.
    pub sampling_percent: u32,
    /// How long a response may be changed.
    pub edit_window: Duration,
    /// When it was made.
    pub create_time: Timestamp,
    /// When its state changed last.
    pub update_time: Timestamp,
    /// Changes so far, 1 when made.
    pub version: i64,
}

/// The occasion "a member bought".
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AfterPurchase {
    /// From the purchase to the due time.
    pub delay: Period,
    /// The least net; none for any.
    pub minimum_net: Option<Money>,
    /// Channels that count; empty for all.
    pub channels: Vec<String>,
    /// Ids of the stores that count; empty for all.
    pub stores: Vec<String>,
}

/// A member's purchase, as far as surveys care.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Purchase {
    /// Who bought.
    pub member: MemberId,
    /// The purchase's id in the program.
    pub id: String,
    /// The store's id; empty when not told.
    pub store: String,
    /// How it was bought.
    pub channel: String,
    /// What it counts; none when not told.
    pub net: Option<Money>,
    /// When, by the till's clock.
    pub occur_time: Timestamp,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 1] = [Kind::Nps];

    /// The word for it in the database.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Nps => "NPS",
        }
    }

    /// The scores that may be given.
    pub fn scores(self) -> RangeInclusive<i64> {
        match self {
            Kind::Nps => 0..=10,
        }
    }

    /// Refuses a score outside the scale.
    pub fn check(self, score: i64) -> Result<(), Refusal> {
        let scores = self.scores();
        if scores.contains(&score) { Ok(()) } else { Err(Refusal::ScoreOutOfRange { least: *scores.start(), greatest: *scores.end() }) }
    }
}

impl SurveyState {
    /// Every state.
    pub const ALL: [SurveyState; 3] = [SurveyState::Draft, SurveyState::Active, SurveyState::Paused];

    /// The word for it in the database.
    pub fn word(self) -> &'static str {
        match self {
            SurveyState::Draft => "DRAFT",
            SurveyState::Active => "ACTIVE",
            SurveyState::Paused => "PAUSED",
        }
    }
}

impl Survey {
    /// `programs/{program}/surveys/{survey}`.
    pub fn name(&self) -> String {
        format!("programs/{}/surveys/{}", self.program, self.id)
    }

    /// Lets it ask. `None` when it does already.
    pub fn activate(self, now: Timestamp) -> Option<Survey> {
        match self.state {
            SurveyState::Active => None,
            SurveyState::Draft | SurveyState::Paused => Some(self.moved(SurveyState::Active, now)),
        }
    }

    /// Stops it from asking. `None` when it is paused already; a draft is refused.
    pub fn pause(self, now: Timestamp) -> Result<Option<Survey>, Refusal> {
        match self.state {
            SurveyState::Draft => Err(Refusal::SurveyNotActivated),
            SurveyState::Paused => Ok(None),
            SurveyState::Active => Ok(Some(self.moved(SurveyState::Paused, now))),
        }
    }

    /// When to ask about a purchase, in the program's zone; `None` when it is not one to ask about, or when the time to
    /// answer is over already (the first reading of an old feed).
    pub fn plan(&self, purchase: &Purchase, zone: &Zone, now: Timestamp) -> Option<Plan> {
        if self.state != SurveyState::Active || !self.trigger.admits(purchase) {
            return None;
        }
        let due_time = self.trigger.delay.after(purchase.occur_time, zone);
        let expire_time = self.expire_after.after(due_time, zone);
        let sampled = self.samples(&purchase.id);
        (now < expire_time).then_some(Plan { due_time, expire_time, sampled })
    }

    /// The latest moment of an earlier contact that does not stand in the way of another one now.
    pub fn contact_cutoff(&self, now: Timestamp) -> Timestamp {
        now - Duration::from_secs(u64::from(self.recontact_days) * 24 * 60 * 60)
    }

    /// Whether an occasion is among the share that is asked about. A hash, so that a retry cannot roll the dice again; a
    /// greater percentage only adds occasions.
    fn samples(&self, occasion: &str) -> bool {
        let mut hasher = blake3::Hasher::new_derive_key("regulars feedback sampling v1");
        for part in [self.program.as_str(), &self.id, occasion] {
            hasher.update(&(part.len() as u64).to_be_bytes());
            hasher.update(part.as_bytes());
        }
        let mut number = [0; 8];
        hasher.finalize_xof().fill(&mut number);
        u64::from_be_bytes(number) % 100 < u64::from(self.sampling_percent)
    }

    fn moved(self, state: SurveyState, now: Timestamp) -> Survey {
        Survey { state, update_time: now, version: self.version + 1, ..self }
    }
}

impl AfterPurchase {
    fn admits(&self, purchase: &Purchase) -> bool {
        let reaches = |least: Money| purchase.net.is_some_and(|net| net.currency == least.currency && net.minor >= least.minor);
        let enough = self.minimum_net.is_none_or(reaches);
        let channel = self.channels.is_empty() || self.channels.contains(&purchase.channel);
        let store = self.stores.is_empty() || self.stores.contains(&purchase.store);
        enough && channel && store
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use kernel::{CalendarUnit, Currency, Uuid};
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn at(text: &str) -> Timestamp {
        text.parse::<jiff::Timestamp>().unwrap().into()
    }

    fn money(minor: i64) -> Money {
        Money { currency: Currency::parse("CNY").unwrap(), minor }
    }

    fn survey() -> Survey {
        let made = at("2026-01-01T00:00:00Z");
        Survey {
            program: ProgramId::parse("tea").unwrap(),
            id: "nps".to_owned(),
            kind: Kind::Nps,
            display_name: "NPS".to_owned(),
            question: String::new(),
            state: SurveyState::Active,
            trigger: AfterPurchase {
                delay: Period { count: 3, unit: CalendarUnit::Day },
                minimum_net: None,
                channels: Vec::new(),
                stores: Vec::new(),
            },
            expire_after: Period { count: 14, unit: CalendarUnit::Day },
            recontact_days: 30,
            sampling_percent: 100,
            edit_window: Duration::from_secs(86_400),
            create_time: made,
            update_time: made,
            version: 1,
        }
    }

    fn purchase(occur_time: &str) -> Purchase {
        Purchase {
            member: MemberId(Uuid::from_u128(7)),
            id: "p1".to_owned(),
            store: "s1".to_owned(),
            channel: "store".to_owned(),
            net: Some(money(2_500)),
            occur_time: at(occur_time),
        }
    }

    #[test]
    fn only_what_the_trigger_names_is_asked_about() {
        let trigger = |minimum: Option<i64>, channels: &[&str], stores: &[&str]| AfterPurchase {
            minimum_net: minimum.map(money),
            channels: channels.iter().map(|&text| text.to_owned()).collect(),
            stores: stores.iter().map(|&text| text.to_owned()).collect(),
            ..survey().trigger
        };
        for (trigger, admitted) in [
            (trigger(None, &[], &[]), true),
            (trigger(Some(2_500), &["app", "store"], &["s1"]), true),
            (trigger(Some(2_501), &[], &[]), false),
            (trigger(None, &["app"], &[]), false),
            (trigger(None, &[], &["s2"]), false),
        ] {
            assert_eq!(trigger.admits(&purchase("2026-05-01T00:00:00Z")), admitted, "{trigger:?}");
        }
        let dollars = Money { currency: Currency::parse("USD").unwrap(), minor: 1_000_000 };
        for net in [Some(dollars), None] {
            assert!(!trigger(Some(1), &[], &[]).admits(&Purchase { net, ..purchase("2026-05-01T00:00:00Z") }));
        }
    }

    #[test]
    fn the_due_time_is_counted_in_the_zone() {
        let berlin = Zone::parse("Europe/Berlin").unwrap();
        for (occur, count, unit, zone, due) in [
            ("2026-05-01T10:00:00Z", 3, CalendarUnit::Day, &Zone::UTC, "2026-05-04T10:00:00Z"),
            // Clocks go forward on 29 March: noon stays noon.
            ("2026-03-27T11:00:00Z", 3, CalendarUnit::Day, &berlin, "2026-03-30T10:00:00Z"),
            // And back on 25 October.
            ("2026-10-23T10:00:00Z", 3, CalendarUnit::Day, &berlin, "2026-10-26T11:00:00Z"),
            ("2026-01-31T10:00:00Z", 1, CalendarUnit::Month, &Zone::UTC, "2026-02-28T10:00:00Z"),
        ] {
            let trigger = AfterPurchase { delay: Period { count, unit }, ..survey().trigger };
            let plan = Survey { trigger, ..survey() }.plan(&purchase(occur), zone, at(occur)).unwrap();
            assert_eq!(plan.due_time, at(due));
            assert!(plan.sampled);
        }
    }

    #[test]
    fn what_cannot_be_answered_any_more_is_not_planned() {
        let bought = purchase("2026-05-01T00:00:00Z");
        assert!(survey().plan(&bought, &Zone::UTC, at("2026-05-17T23:59:59Z")).is_some());
        assert_eq!(survey().plan(&bought, &Zone::UTC, at("2026-05-18T00:00:00Z")), None);
        for state in [SurveyState::Draft, SurveyState::Paused] {
            assert_eq!(Survey { state, ..survey() }.plan(&bought, &Zone::UTC, bought.occur_time), None);
        }
    }

    #[test]
    fn states_move_by_their_verbs() {
        let now = at("2026-06-01T00:00:00Z");
        let in_state = |state| Survey { state, ..survey() };
        let state = |survey: Option<Survey>| survey.map(|survey| (survey.state, survey.version));
        assert_eq!(state(in_state(SurveyState::Draft).activate(now)), Some((SurveyState::Active, 2)));
        assert_eq!(state(in_state(SurveyState::Paused).activate(now)), Some((SurveyState::Active, 2)));
        assert_eq!(state(in_state(SurveyState::Active).activate(now)), None);
        assert_eq!(in_state(SurveyState::Draft).pause(now), Err(Refusal::SurveyNotActivated));
        assert_eq!(in_state(SurveyState::Active).pause(now).map(state), Ok(Some((SurveyState::Paused, 2))));
        assert_eq!(in_state(SurveyState::Paused).pause(now), Ok(None));
    }

    #[test]
    fn the_sample_never_changes() {
        // Pinned: another hash would ask other members than the release before it.
        let half = Survey { sampling_percent: 50, ..survey() };
        let chosen: Vec<u32> = (0..20).filter(|number| half.samples(&format!("p{number}"))).collect();
        assert_eq!(chosen, [1, 2, 3, 4, 5, 6, 7, 11, 15, 17, 18]);
    }

    #[test]
    fn the_sample_has_its_share() {
        for percent in [1, 10, 50, 99] {
            let some = Survey { sampling_percent: percent, ..survey() };
            let chosen = (0..20_000).filter(|number| some.samples(&format!("purchase-{number}"))).count();
            let share = chosen as f64 / 200.0;
            // Four standard errors of a share of 20,000.
            assert!((share - f64::from(percent)).abs() < 1.5, "{percent} % chose {share} %");
        }
    }

    proptest! {
        #[test]
        fn a_greater_percentage_only_adds(occasion in "[a-z0-9-]{1,20}", less in 1_u32..=100, more in 1_u32..=100) {
            let (less, more) = (less.min(more), less.max(more));
            let samples = |percent| Survey { sampling_percent: percent, ..survey() }.samples(&occasion);
            prop_assert!(!samples(less) || samples(more));
            prop_assert!(samples(100));
        }

        #[test]
        fn an_invitation_ends_after_it_begins(
            occurred in 0_i64..4_000_000_000_000_000,
            delay in 1_i32..400,
            life in 1_i32..400,
            unit in prop::sample::select(vec![CalendarUnit::Day, CalendarUnit::Week, CalendarUnit::Month, CalendarUnit::Year]),
        ) {
            let zone = Zone::parse("America/New_York").unwrap();
            let bought = Purchase { occur_time: Timestamp::from_micros(occurred), ..purchase("2026-05-01T00:00:00Z") };
            let trigger = AfterPurchase { delay: Period { count: delay, unit }, ..survey().trigger };
            let asked = Survey { trigger, expire_after: Period { count: life, unit }, ..survey() };
            let plan = asked.plan(&bought, &zone, bought.occur_time).unwrap();
            prop_assert!(bought.occur_time < plan.due_time && plan.due_time < plan.expire_time);
        }
    }
}
