//! Promotions: extra points for purchases. Whether one applies is judged once, when a purchase is awarded. What it then gives is worked out
//! from what is left of the purchase, by the same function for an award, its preview and a return; it never rises when something goes back.

use std::cell::OnceCell;
use std::sync::Arc;

use jiff::civil::DateTime;
use kernel::{Timestamp, Zone};
use rust_decimal::Decimal;

use super::earning::Earning;
use super::{Applied, Basket, Condition, Count, Facts, Limit, Line, Refusal, Version, WeeklyWindow, Windows};

/// Extra points for purchases of which everything holds that it asks for.
#[derive(Clone, PartialEq, Debug)]
pub struct Promotion {
    /// Its id in the version.
    pub id: Arc<str>,
    /// What a receipt calls it.
    pub title: String,
    /// What it gives.
    pub gives: Gives,
    /// Which purchases it is for, by time, place and person.
    pub asks: Asks,
    /// Which lines count.
    pub lines: LineFilter,
    /// What must be spent on them, minor units.
    pub spend_min: i64,
    /// The most points that it gives for a purchase.
    pub points_max: Option<i64>,
    /// Of those of a group one applies; `None` for one that adds to all.
    pub group: Option<String>,
    /// Higher goes first in the group.
    pub priority: i32,
    /// The most that one member may get of it.
    pub limit: Option<Limit>,
    /// The most that all may get of it together.
    pub budget: Option<Limit>,
    /// The wallet that its points go to; `None` for the main one.
    pub wallet: Option<Arc<str>>,
}

/// What a promotion gives.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Gives {
    /// What the base points of the lines that count are multiplied by; more than one.
    Multiplier(Decimal),
    /// So many points.
    Points(i64),
}

/// What a promotion asks of time, place and person. What is empty asks for nothing.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Asks {
    /// From when.
    pub start_at: Option<Timestamp>,
    /// Until when, exclusive.
    pub end_at: Option<Timestamp>,
    /// Days of the week, and a time of the day.
    pub weekly: Option<WeeklyWindow>,
    /// Times that come again by rules.
    pub windows: Windows,
    /// Stores by name.
    pub stores: Vec<String>,
    /// Channels.
    pub channels: Vec<String>,
    /// Tiers.
    pub tiers: Vec<String>,
    /// Tags, one of which the member has.
    pub tags: Vec<String>,
    /// Tags of which he has none.
    pub excluded_tags: Vec<String>,
    /// Segments, in one of which he is.
    pub segments: Vec<String>,
    /// Only this of the member's purchases, from 1.
    pub purchase_number: Option<i64>,
    /// Days without a purchase.
    pub dormant_days: Option<i32>,
    /// Around his birthday.
    pub birthday: Option<BirthdayWindow>,
    /// Whatever else is to be true.
    pub condition: Option<Condition>,
}

/// How far from a birthday.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BirthdayWindow {
    /// On the day.
    Day,
    /// Three days before to three days after.
    Week,
    /// In its month.
    Month,
}

/// The day of the year on which somebody was born.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Birthday {
    /// 1 to 12.
    pub month: i8,
    /// 1 to 31.
    pub day: i8,
}

/// Lines of certain articles or categories, and of none that is excluded.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LineFilter {
    /// Article numbers.
    pub skus: Vec<String>,
    /// Categories.
    pub categories: Vec<String>,
    /// Categories that do not count.
    pub excluded_categories: Vec<String>,
    /// Pieces that must be bought of them.
    pub quantity_min: i64,
}

/// Why a promotion that is running gives nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rejection {
    /// Not on this day of the week, or at this time.
    Time,
    /// Not here.
    Store,
    /// Not in this way.
    Channel,
    /// Not for his tiers.
    Tier,
    /// Not for his tags or segments.
    Audience,
    /// Not this purchase.
    PurchaseNumber,
    /// He was not away for long enough.
    Dormancy,
    /// Not around his birthday.
    Birthday,
    /// Its condition is not true.
    Condition,
    /// Its condition could not be worked out.
    ConditionFault,
    /// No line counts, or too few pieces.
    Lines,
    /// Too little was spent.
    Spend,
    /// Less than a point.
    Nothing,
    /// He has had all that he may get of it.
    Limit,
    /// All together have had all of it.
    Budget,
    /// Another of its group went before it.
    Stacking,
}

impl Rejection {
    /// Whether time, place and person were right: another basket might have got something.
    pub fn is_about_the_basket(self) -> bool {
        use Rejection::{Budget, ConditionFault, Limit, Lines, Nothing, Spend, Stacking};
        matches!(self, ConditionFault | Lines | Spend | Nothing | Limit | Budget | Stacking)
    }
}

/// What a promotion gives for a purchase.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bonus {
    /// Points before its bound.
    pub desired: i64,
    /// Points.
    pub granted: i64,
}

/// What of a member promotions ask for, when he buys.
#[derive(Clone, Copy, Debug)]
pub struct Buyer<'a> {
    /// What other services' feeds have told.
    pub facts: &'a Facts,
    /// The purchases before this one.
    pub purchases: i64,
    /// When the last of them was made.
    pub last_purchase_at: Option<Timestamp>,
    /// What he has got of what is limited.
    pub counts: &'a [Count],
    /// What all have got of that.
    pub shared: &'a [Count],
}

/// Which of the promotions that were running and do not apply are told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// All, with all reasons.
    All,
    /// Those of which another basket might have got something.
    OfTheBasket,
}

/// The promotions that apply, in the order of the version, and those that do not and are told.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Selection {
    /// With what the member could still get.
    pub applied: Vec<Applied>,
    /// With their reasons.
    pub rejected: Vec<(Arc<str>, Rejection)>,
}

impl Version {
    /// Which promotions apply to a purchase.
    pub fn select<'a>(&'a self, basket: &Basket<'_>, buyer: &Buyer<'_>, told: Told) -> Result<Selection, Refusal> {
        let mut selection = Selection::default();
        let promotions = &self.terms.promotions;
        if promotions.is_empty() {
            return Ok(selection);
        }
        let occasion = Occasion::new(basket, buyer, &self.zone);
        let earning = Earning::of(self, basket);
        let mut candidates = Vec::new();
        let mut judge = |promotion: &'a Promotion| {
            match promotion.judge(&earning, &occasion)? {
                Ok((bonus, at_most)) => candidates.push((promotion, bonus.granted, at_most)),
                Err(reason) if told == Told::All || reason.is_about_the_basket() => selection.rejected.push((promotion.id.clone(), reason)),
                Err(_) => {}
            }
            Ok(())
        };
        let is_running = |promotion: &&Promotion| promotion.asks.is_running(basket.occurred_at);
        match told {
            Told::All => promotions.iter().filter(is_running).try_for_each(&mut judge)?,
            Told::OfTheBasket => promotions.candidates(&occasion).filter(is_running).try_for_each(&mut judge)?,
        }
        for (index, (promotion, gives, at_most)) in candidates.iter().enumerate() {
            let is_beaten = candidates.iter().enumerate().any(|(place, (other, others, _))| {
                // The first of those that are alike goes before the others.
                let goes_before = (other.priority, *others, index) > (promotion.priority, *gives, place);
                promotion.group.is_some() && other.group == promotion.group && place != index && goes_before
            });
            match is_beaten {
                true => selection.rejected.push((promotion.id.clone(), Rejection::Stacking)),
                false => selection.applied.push(Applied { id: promotion.id.clone(), at_most: *at_most }),
            }
        }
        Ok(selection)
    }
}

/// A purchase that is to be judged, with what is known of it and asked more than once.
pub(super) struct Occasion<'a> {
    pub(super) basket: &'a Basket<'a>,
    pub(super) buyer: &'a Buyer<'a>,
    /// What clock and calendar on the wall show.
    pub(super) wall: DateTime,
    zone: &'a Zone,
    days_away: OnceCell<Option<i32>>,
}

impl<'a> Occasion<'a> {
    pub(super) fn new(basket: &'a Basket<'a>, buyer: &'a Buyer<'a>, zone: &'a Zone) -> Occasion<'a> {
        Occasion { basket, buyer, wall: basket.occurred_at.wall_in(zone), zone, days_away: OnceCell::new() }
    }

    /// The tiers that the member had.
    pub(super) fn tiers(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.buyer.facts.tiers_at(self.basket.occurred_at).map(|tier| tier.tier.as_str())
    }

    /// Days since the member bought last; `None` when he never has. None have passed where this purchase is told after a later one.
    pub(super) fn days_away(&self) -> Option<i32> {
        let away = |last: Timestamp| last.date_in(self.zone).until(self.wall.date()).map_or(0, |span| span.get_days().max(0));
        *self.days_away.get_or_init(|| self.buyer.last_purchase_at.map(away))
    }
}

impl Promotion {
    /// What its points are counted as.
    pub fn counted_as(&self) -> Arc<str> {
        format!("promotion:{}", self.id).into()
    }

    /// What it gives for a purchase, and what it may give, or why it gives nothing.
    fn judge(&self, earning: &Earning<'_>, occasion: &Occasion<'_>) -> Result<Result<(Bonus, Option<i64>), Rejection>, Refusal> {
        let Earning { version, basket, .. } = earning;
        let Occasion { buyer, .. } = occasion;
        if let Some(reason) = self.asks.judge(occasion) {
            return Ok(Err(reason));
        }
        let mut at_most = None;
        let limits = [(self.limit, buyer.counts, Rejection::Limit), (self.budget, buyer.shared, Rejection::Budget)];
        for (limit, counts, reason) in limits.iter().filter_map(|(limit, counts, reason)| Some(((*limit)?, counts, reason))) {
            let Some(room) = limit.room(&self.counted_as(), counts, basket.occurred_at, &version.zone) else { return Ok(Err(*reason)) };
            at_most = Some(at_most.map_or(room, |most: i64| most.min(room)));
        }
        Ok(self.bonus(earning, at_most)?.map(|bonus| (bonus, at_most)))
    }

    /// What it gives for what is left of a purchase that it applies to. Never more for less: fewer lines, fewer pieces or less net
    /// each give at most as many points.
    pub(super) fn bonus(&self, earning: &Earning<'_>, at_most: Option<i64>) -> Result<Result<Bonus, Rejection>, Refusal> {
        let Earning { version, basket, .. } = earning;
        let counted = match self.lines.counted(basket) {
            Some(counted) => counted,
            None => return Ok(Err(Rejection::Lines)),
        };
        if counted < self.spend_min || basket.is_empty() {
            return Ok(Err(Rejection::Spend));
        }
        let desired = match self.gives {
            Gives::Points(points) => points,
            Gives::Multiplier(multiplier) => {
                let base = match &self.wallet {
                    None => earning.base(&self.lines)?,
                    Some(name) => version.other_wallet(name).map_or(Ok(0), |wallet| earning.base_in(wallet, &self.lines))?,
                };
                version.multiplied(base, multiplier)?
            }
        };
        let granted = self.points_max.into_iter().chain(at_most).fold(desired, i64::min);
        Ok(if granted > 0 { Ok(Bonus { desired, granted }) } else { Err(Rejection::Nothing) })
    }
}

impl Asks {
    /// Whether all of it holds.
    pub(super) fn hold(&self, occasion: &Occasion<'_>) -> bool {
        self.judge(occasion).is_none()
    }

    pub(super) fn is_running(&self, at: Timestamp) -> bool {
        self.start_at.is_none_or(|start| start <= at) && self.end_at.is_none_or(|end| at < end)
    }

    /// The first thing that does not hold. What costs least to find out comes first.
    fn judge(&self, occasion: &Occasion<'_>) -> Option<Rejection> {
        let Occasion { basket, buyer, wall, .. } = occasion;
        let names = |list: &[String], name: &str| list.is_empty() || list.iter().any(|known| known == name);
        let has = |labels: &[String], wanted: &[String]| wanted.iter().any(|label| labels.contains(label));
        let Facts { tags, segments, birthday, .. } = buyer.facts;
        let checks: [(&dyn Fn() -> bool, Rejection); 9] = [
            (&|| self.weekly.as_ref().is_none_or(|window| window.holds(*wall)) && self.windows.hold(basket.occurred_at), Rejection::Time),
            (&|| names(&self.stores, basket.store), Rejection::Store),
            (&|| names(&self.channels, basket.channel), Rejection::Channel),
            (&|| self.tiers.is_empty() || occasion.tiers().any(|tier| self.tiers.iter().any(|known| known == tier)), Rejection::Tier),
            (&|| (self.tags.is_empty() || has(tags, &self.tags)) && !has(tags, &self.excluded_tags), Rejection::Audience),
            (&|| self.segments.is_empty() || has(segments, &self.segments), Rejection::Audience),
            (&|| self.purchase_number.is_none_or(|number| number == buyer.purchases + 1), Rejection::PurchaseNumber),
            (&|| self.dormant_days.is_none_or(|days| occasion.days_away().is_some_and(|away| away >= days)), Rejection::Dormancy),
            (&|| self.birthday.is_none_or(|window| birthday.is_some_and(|day| window.holds(day, wall.date()))), Rejection::Birthday),
        ];
        let failed = checks.into_iter().find(|(holds, _)| !holds()).map(|(_, reason)| reason);
        failed.or_else(|| match self.condition.as_ref()?.holds(occasion) {
            Ok(true) => None,
            Ok(false) => Some(Rejection::Condition),
            Err(_) => Some(Rejection::ConditionFault),
        })
    }
}

impl BirthdayWindow {
    pub(super) fn holds(self, born: Birthday, today: jiff::civil::Date) -> bool {
        if self == BirthdayWindow::Month {
            return today.month() == born.month;
        }
        let days_max = if self == BirthdayWindow::Week { 3 } else { 0 };
        // Around the turn of the year the nearest birthday is in another one.
        (-1..=1).filter_map(|years| born.in_year(today.year() + years)).any(|day| {
            let days = day.until(today).map_or(i32::MAX, |span| span.get_days());
            days.abs() <= days_max
        })
    }
}

impl Birthday {
    /// From month and day; `None` for a day that no year has, as for 0 and 0, by which feeds tell that it is not known.
    pub fn new(month: i32, day: i32) -> Option<Birthday> {
        let (month, day) = (i8::try_from(month).ok()?, i8::try_from(day).ok()?);
        jiff::civil::Date::new(2024, month, day).ok().map(|_| Birthday { month, day })
    }

    /// Who was born on 29 February has his birthday on the 28th in other years.
    pub(super) fn in_year(self, year: i16) -> Option<jiff::civil::Date> {
        jiff::civil::Date::new(year, self.month, self.day).or_else(|_| jiff::civil::Date::new(year, self.month, self.day - 1)).ok()
    }
}

impl LineFilter {
    /// Whether it is for a line.
    pub(super) fn names(&self, line: &Line) -> bool {
        let LineFilter { skus, categories, excluded_categories, quantity_min: _ } = self;
        let is_named = (skus.is_empty() && categories.is_empty()) || skus.contains(&line.sku) || categories.contains(&line.category);
        is_named && !excluded_categories.contains(&line.category)
    }

    /// Whether it is for a line of which something is left.
    pub(super) fn counts(&self, line: &Line) -> bool {
        line.left() > 0 && self.names(line)
    }

    /// The net of what counts in a purchase; `None` when no line does, or too few pieces.
    pub(super) fn counted(&self, basket: &Basket<'_>) -> Option<i64> {
        if *self == LineFilter::default() {
            return Some(basket.net);
        }
        let (pieces, net) = basket
            .lines
            .iter()
            .filter(|line| self.counts(line))
            .fold((0_i64, 0_i64), |(pieces, net), line| (pieces.saturating_add(line.left()), net.saturating_add(line.kept_net())));
        // Goods may have gone back by amount: then nobody knows which.
        (pieces > 0 && pieces >= self.quantity_min).then_some(net.min(basket.net))
    }
}
