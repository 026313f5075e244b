//! What is accepted in terms, and would not do what somebody may expect of it. Only what is certain is said.

use super::{Asks, Counts, EarnRate, Gives, Life, Limit, LineFilter, Promotion, Version, WeeklyWindow, Windows};

/// Something about terms.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remark {
    /// What it is about: "promotions[2].end_time".
    pub field: String,
    /// What there is to say.
    pub text: String,
}

impl Version {
    /// What would surprise whoever makes these terms, beside the version that holds now, if there is one.
    pub fn remarks(&self, running: Option<&Version>) -> Vec<Remark> {
        let mut remarks = Vec::new();
        let mut say = |field: String, text: String| remarks.push(Remark { field, text });
        // The first version also holds for what lies before its start.
        let start_at = running.map(|_| self.start_at);
        if let (Life::Until(at), Some(start_at)) = (&self.terms.life, start_at)
            && *at <= start_at
        {
            say("expire_time".to_owned(), "every point lapses at once: it lies before the version's start".to_owned());
        }
        for (index, activity) in self.terms.activities.iter().enumerate() {
            let before = running.and_then(|running| running.terms.activities.iter().find(|before| before.name == activity.name));
            if activity.limit.and_then(|limit| limit.points_max).is_some_and(|max| max < activity.points) {
                say(format!("activities[{index}].member_limit.points_max"), "it can never be earned: one time earns more".to_owned());
            }
            if counts_anew(before.and_then(|before| before.limit), activity.limit) {
                say(format!("activities[{index}].member_limit.period"), ANEW.to_owned());
            }
        }
        let rates = &self.terms.earn_rates;
        for (index, rate) in rates.iter().enumerate() {
            if let Some(first) = rates[..index].iter().find(|first| first.covers(rate)) {
                say(format!("earn_rates[{index}].lines"), format!("it is never reached: all that it is for earns by {}", first.id));
            }
        }
        let earns = !self.terms.points_per_unit.is_zero() || rates.iter().any(|rate| !rate.points_per_unit.is_zero());
        let promotions = &self.terms.promotions;
        for (index, promotion) in promotions.iter().enumerate() {
            let mut say = |field: &str, text: String| say(format!("promotions[{index}].{field}"), text);
            let before = running.and_then(|running| running.terms.promotions.find(&promotion.id));
            if promotion.asks.end_at.zip(start_at).is_some_and(|(end, start)| end <= start) {
                say("end_time", "it never runs: it ends before the version starts".to_owned());
            } else if !self.has_a_day(promotion) {
                say("weekdays", "it never runs: none of them lies between its start and its end".to_owned());
            }
            let is_over = |(_, end): &(usize, &kernel::Timestamp)| start_at.is_some_and(|start| **end <= start);
            for (place, _) in promotion.asks.windows.ends().iter().enumerate().filter(is_over) {
                say(&format!("windows[{place}].rule"), "it holds never: its windows are over before the version starts".to_owned());
            }
            if counts_anew(before.and_then(|before| before.limit), promotion.limit) {
                say("member_limit.period", ANEW.to_owned());
            }
            let earns = match &promotion.wallet {
                None => earns,
                Some(name) => self.other_wallet(name).is_some_and(|wallet| !wallet.points_per_unit.is_zero()),
            };
            if matches!(promotion.gives, Gives::Multiplier(_)) && !earns {
                say("multiplier", "it gives nothing: there are no base points to multiply".to_owned());
            }
            if promotion.group.is_none() && promotion.priority != 0 {
                say("priority", "it decides nothing without a stacking_group".to_owned());
            }
            let beats = |(place, other): &(usize, &Promotion)| *place != index && other.always_beats(promotion, *place < index);
            if let Some((_, better)) = promotions.iter().enumerate().find(beats) {
                say("stacking_group", format!("it never applies: whenever it would, {} of its group goes before it", better.id));
            }
        }
        for (index, challenge) in self.terms.challenges.iter().enumerate() {
            let mut say = |field: &str, text: String| say(format!("challenges[{index}].{field}"), text);
            let before = running.and_then(|running| running.terms.challenges.iter().find(|before| before.id == challenge.id));
            if challenge.end_at.zip(start_at).is_some_and(|(end, start)| end <= start) {
                say("end_time", "it never runs: it ends before the version starts".to_owned());
            }
            if let Counts::Activity(name) = &challenge.counts
                && self.terms.activities.iter().all(|known| known.name != *name)
            {
                say("activity", format!("nothing counts: the terms have no activity {name}"));
            }
            if before.is_some_and(|before| before.key != challenge.key) {
                say(
                    "challenge_id",
                    "what has counted so far counts no more: the running version counts it in another unit, period or length".to_owned(),
                );
            }
        }
        let Some(running) = running else { return remarks };
        for dropped in running.terms.challenges.iter().filter(|before| self.terms.challenges.iter().all(|now| now.id != before.id)) {
            if dropped.end_at.is_none_or(|end| end > self.start_at) {
                say("challenges".to_owned(), format!("{} is there now, and would not be any more", dropped.id));
            }
        }
        for dropped in running.terms.occasions.iter().filter(|before| self.terms.occasions.iter().all(|now| now.id != before.id)) {
            say("occasions".to_owned(), format!("{} is given now, and would not be any more", dropped.id));
        }
        for dropped in running.terms.activities.iter().filter(|before| self.terms.activities.iter().all(|now| now.name != before.name)) {
            say("activities".to_owned(), format!("{} can be earned now, and could not any more", dropped.name));
        }
        for dropped in running.terms.wallets.iter().filter(|before| self.other_wallet(&before.name).is_none()) {
            say("wallets".to_owned(), format!("{} can be earned now, and could not any more", dropped.name));
        }
        for dropped in running.terms.promotions.iter().filter(|before| promotions.find(&before.id).is_none()) {
            if dropped.asks.end_at.is_none_or(|end| end > self.start_at) {
                say("promotions".to_owned(), format!("{} is there now, and would not be any more", dropped.id));
            }
        }
        remarks
    }

    /// Whether one of a promotion's weekdays lies in its time.
    fn has_a_day(&self, promotion: &Promotion) -> bool {
        let Asks { start_at: Some(start), end_at: Some(end), weekly: Some(window), .. } = &promotion.asks else { return true };
        let (first, last) = (start.date_in(&self.zone), (*end - std::time::Duration::from_micros(1)).date_in(&self.zone));
        // A window may have begun on the day before.
        let first = if window.start_minute < window.end_minute { first } else { first.saturating_sub(jiff::Span::new().days(1)) };
        let days = first.series(jiff::Span::new().days(1)).take_while(|day| *day <= last);
        days.take(8).any(|day| window.weekdays.contains(&day.weekday()))
    }
}

const ANEW: &str = "what members have got of it so far counts no more: the running version counts it in another period";

fn counts_anew(before: Option<Limit>, now: Option<Limit>) -> bool {
    before.zip(now).is_some_and(|(before, now)| before.period != now.period)
}

impl Promotion {
    /// Whether it goes before another of its group whenever that one would apply. Every field is named, so that nothing that it might come
    /// to ask for is forgotten here.
    fn always_beats(&self, other: &Promotion, is_first: bool) -> bool {
        let Promotion { id: _, title: _, gives, asks, lines, spend_min, points_max, group, priority, limit, budget, wallet } = self;
        let applies = group.is_some()
            && *group == other.group
            && limit.is_none()
            && budget.is_none()
            && asks.hold_whenever(&other.asks)
            && (*lines == LineFilter::default() || *lines == other.lines)
            && *spend_min <= other.spend_min;
        let bound = |given: i64, max: Option<i64>| max.map_or(given, |max| given.min(max));
        let gives_as_much = match (*gives, other.gives) {
            (Gives::Points(own), Gives::Points(others)) => bound(own, *points_max) >= bound(others, other.points_max),
            (Gives::Multiplier(own), Gives::Multiplier(others)) => {
                own >= others
                    && *wallet == other.wallet
                    && points_max.is_none_or(|max| other.points_max.is_some_and(|others| others <= max))
            }
            _ => false,
        };
        // One that goes first must give something at all; that is sure where it gives as much, or whatever was bought.
        let gives_something = gives_as_much || matches!(gives, Gives::Points(_));
        applies && if *priority == other.priority { gives_as_much && is_first } else { *priority > other.priority && gives_something }
    }
}

impl EarnRate {
    /// Whether it is for all that the other is for.
    fn covers(&self, other: &EarnRate) -> bool {
        let EarnRate { id: _, points_per_unit: _, lines, stores, channels } = self;
        (*lines == LineFilter::default() || *lines == other.lines) && wider(stores, &other.stores) && wider(channels, &other.channels)
    }
}

/// Whether a list, of which an empty one asks for nothing, lets through all that another does.
fn wider<T: PartialEq>(own: &[T], others: &[T]) -> bool {
    own.is_empty() || (!others.is_empty() && others.iter().all(|one| own.contains(one)))
}

impl WeeklyWindow {
    /// Whether it holds whenever the other does.
    fn covers(&self, other: &WeeklyWindow) -> bool {
        let same_hours = (self.start_minute, self.end_minute) == (other.start_minute, other.end_minute);
        same_hours && other.weekdays.iter().all(|day| self.weekdays.contains(day))
    }
}

impl Asks {
    /// Whether it holds whenever the other does.
    fn hold_whenever(&self, other: &Asks) -> bool {
        let Asks { start_at, end_at, weekly, windows, stores, channels, tiers, tags, excluded_tags, segments, .. } = self;
        let Asks { purchase_number, dormant_days, birthday, condition, .. } = self;
        start_at.is_none_or(|own| other.start_at.is_some_and(|others| own <= others))
            && end_at.is_none_or(|own| other.end_at.is_some_and(|others| others <= own))
            && weekly.as_ref().is_none_or(|own| other.weekly.as_ref().is_some_and(|others| own.covers(others)))
            && (*windows == Windows::default() || *windows == other.windows)
            && (condition.is_none() || *condition == other.condition)
            && wider(tags, &other.tags)
            && wider(segments, &other.segments)
            && excluded_tags.iter().all(|tag| other.excluded_tags.contains(tag))
            && wider(stores, &other.stores)
            && wider(channels, &other.channels)
            && wider(tiers, &other.tiers)
            && (purchase_number.is_none() || *purchase_number == other.purchase_number)
            && dormant_days.is_none_or(|own| other.dormant_days.is_some_and(|others| own <= others))
            && (birthday.is_none() || *birthday == other.birthday)
    }
}
