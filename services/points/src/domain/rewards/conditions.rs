use kernel::{Timestamp, Zone};

use super::pricing::{Basket, BasketLine};
use super::voucher::Obstacle;
use crate::domain::{BirthdayWindow, Facts, MemberFilter, WeeklyWindow};

/// What must be so for a voucher to hold. What is empty asks for nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Conditions {
    /// Minor units that all lines come to at least.
    pub minimum_spend: i64,
    /// Articles that it is for.
    pub skus: Vec<String>,
    /// Categories that it is for.
    pub categories: Vec<String>,
    /// Names of stores.
    pub stores: Vec<String>,
    /// Channels.
    pub channels: Vec<String>,
    /// Windows, any of which will do.
    pub windows: Vec<WeeklyWindow>,
    /// The member has no purchase yet.
    pub first_order: bool,
    /// Calendar days without a purchase, after an earlier one.
    pub dormant_days: Option<i32>,
    /// What is known of the member.
    pub members: MemberFilter,
    /// Around his birthday.
    pub birthday: Option<BirthdayWindow>,
}

/// What is known besides the basket.
#[derive(Clone, Debug)]
pub struct Situation {
    /// The server's clock.
    pub now: Timestamp,
    /// The program's zone.
    pub zone: Zone,
    /// The member has no purchase yet, and no other order is to be his first.
    pub first_order: bool,
    /// When the latest purchase was made.
    pub last_purchase_at: Option<Timestamp>,
    /// What other services' feeds have told of him.
    pub facts: Facts,
}

impl Situation {
    /// Whether the member has bought before, and not for so many days.
    fn was_away(&self, days: i32) -> bool {
        let day_in = |moment: Timestamp| moment.date_in(&self.zone);
        let away = |last: Timestamp| day_in(last).until(day_in(self.now)).map_or(0, |span| span.get_days());
        self.last_purchase_at.is_some_and(|last| away(last) >= days)
    }

    /// Whether the day is that near to his birthday.
    fn is_birthday(&self, window: BirthdayWindow) -> bool {
        self.facts.birthday.is_some_and(|born| window.holds(born, self.now.date_in(&self.zone)))
    }
}

impl Conditions {
    /// Whether it is for a line: of one of the articles, or of one of the categories.
    pub fn admits(&self, line: &BasketLine) -> bool {
        let anything = self.skus.is_empty() && self.categories.is_empty();
        anything || self.skus.contains(&line.sku) || self.categories.contains(&line.category)
    }

    /// All that is not so. Whether there are lines that it is for is told by whoever prices them.
    pub fn obstacles(&self, basket: &Basket, situation: &Situation) -> Vec<Obstacle> {
        let missing = self.minimum_spend - basket.total();
        let is_one_of = |wanted: &[String], given: &String| wanted.is_empty() || wanted.contains(given);
        let in_time = self.windows.is_empty() || self.windows.iter().any(|window| window.holds(situation.now.wall_in(&situation.zone)));
        let checks = [
            (missing > 0, Obstacle::MinimumSpend { missing }),
            (!is_one_of(&self.stores, &basket.store), Obstacle::Store),
            (!is_one_of(&self.channels, &basket.channel), Obstacle::Channel),
            (!in_time, Obstacle::Time),
            (self.first_order && !situation.first_order, Obstacle::FirstOrder),
            (self.dormant_days.is_some_and(|days| !situation.was_away(days)), Obstacle::Dormancy),
            (!self.members.admits(&situation.facts, situation.now), Obstacle::Audience),
            (self.birthday.is_some_and(|window| !situation.is_birthday(window)), Obstacle::Birthday),
        ];
        checks.into_iter().filter(|(stands, _)| *stands).map(|(_, obstacle)| obstacle).collect()
    }
}
