//! The promotions of terms, with an index by which an award asks only those that can apply.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

use jiff::ToSpan;
use jiff::civil::{Date, DateTime, Time};

use super::{Occasion, Promotion, WeeklyWindow};

const HOURS_A_WEEK: i32 = 7 * 24;
/// Of the weeks, which are all alike, this one is looked at.
const SOME_MONDAY: Date = jiff::civil::date(2024, 1, 1);

/// Promotions in the order of their version.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Promotions {
    list: Vec<Promotion>,
    places: HashMap<Arc<str>, usize>,
    /// By store, channel, tier, tag and segment.
    names: [Names; 5],
    /// Those that may run in an hour of the week; empty where none asks for one.
    hours: Vec<Places>,
}

impl Promotions {
    /// A promotion by its id.
    pub fn find(&self, id: &str) -> Option<&Promotion> {
        self.places.get(id).map(|place| &self.list[*place])
    }

    /// Those that can apply. The others ask for another place, person or hour of the week, and say so when they are judged.
    pub(super) fn candidates(&self, occasion: &Occasion<'_>) -> impl Iterator<Item = &Promotion> {
        let mut places = Places::all(self.list.len());
        let [stores, channels, tiers, tags, segments] = &self.names;
        stores.narrow(&mut places, std::iter::once(occasion.basket.store));
        channels.narrow(&mut places, std::iter::once(occasion.basket.channel));
        tiers.narrow(&mut places, occasion.tiers());
        tags.narrow(&mut places, occasion.buyer.facts.tags.iter().map(String::as_str));
        segments.narrow(&mut places, occasion.buyer.facts.segments.iter().map(String::as_str));
        if let Some(now) = self.hours.get(hour_of_week(occasion.wall)) {
            places.keep(now);
        }
        places.into_iter().map(|place| &self.list[place])
    }
}

impl From<Vec<Promotion>> for Promotions {
    fn from(list: Vec<Promotion>) -> Promotions {
        let names = [
            Names::new(&list, |promotion| &promotion.asks.stores),
            Names::new(&list, |promotion| &promotion.asks.channels),
            Names::new(&list, |promotion| &promotion.asks.tiers),
            Names::new(&list, |promotion| &promotion.asks.tags),
            Names::new(&list, |promotion| &promotion.asks.segments),
        ];
        let places = list.iter().enumerate().map(|(place, promotion)| (promotion.id.clone(), place)).collect();
        Promotions { names, hours: hours(&list), places, list }
    }
}

impl FromIterator<Promotion> for Promotions {
    fn from_iter<I: IntoIterator<Item = Promotion>>(promotions: I) -> Promotions {
        promotions.into_iter().collect::<Vec<_>>().into()
    }
}

impl Deref for Promotions {
    type Target = [Promotion];

    fn deref(&self) -> &[Promotion] {
        &self.list
    }
}

/// Names of one kind that promotions ask for.
#[derive(Clone, PartialEq, Debug, Default)]
struct Names {
    /// Who asks for a name.
    askers: HashMap<String, Places>,
    /// Who asks for none.
    others: Places,
}

impl Names {
    fn new(list: &[Promotion], asked: impl Fn(&Promotion) -> &[String]) -> Names {
        let mut names = Names { askers: HashMap::new(), others: Places::none(list.len()) };
        for (place, promotion) in list.iter().enumerate() {
            match asked(promotion) {
                [] => names.others.add(place),
                asked => asked.iter().for_each(|name| names.askers.entry(name.clone()).or_insert(Places::none(list.len())).add(place)),
            }
        }
        names
    }

    /// Keeps those that ask for one of the names or for none.
    fn narrow<'n>(&self, places: &mut Places, names: impl Iterator<Item = &'n str>) {
        if self.askers.is_empty() {
            return;
        }
        let mut kept = self.others.clone();
        names.filter_map(|name| self.askers.get(name)).for_each(|askers| kept.join(askers));
        places.keep(&kept);
    }
}

/// Places in a list, a bit for each.
#[derive(Clone, PartialEq, Debug, Default)]
struct Places(Vec<u64>);

impl Places {
    fn none(count: usize) -> Places {
        Places(vec![0; count.div_ceil(64)])
    }

    fn all(count: usize) -> Places {
        let mut all = Places(vec![u64::MAX; count.div_ceil(64)]);
        if let (Some(last), rest @ 1..) = (all.0.last_mut(), count % 64) {
            *last = (1 << rest) - 1;
        }
        all
    }

    fn add(&mut self, place: usize) {
        self.0[place / 64] |= 1 << (place % 64);
    }

    fn join(&mut self, others: &Places) {
        self.0.iter_mut().zip(&others.0).for_each(|(own, other)| *own |= other);
    }

    fn keep(&mut self, others: &Places) {
        self.0.iter_mut().zip(&others.0).for_each(|(own, other)| *own &= other);
    }

    /// In ascending order.
    fn into_iter(self) -> impl Iterator<Item = usize> {
        self.0.into_iter().enumerate().flat_map(|(word, mut bits)| {
            std::iter::from_fn(move || {
                let bit = (bits != 0).then(|| bits.trailing_zeros() as usize)?;
                bits &= bits - 1;
                Some(word * 64 + bit)
            })
        })
    }
}

/// Who may run in each hour of the week. Whether it does is a question of minutes.
fn hours(list: &[Promotion]) -> Vec<Places> {
    if list.iter().all(|promotion| promotion.asks.weekly.is_none()) {
        return Vec::new();
    }
    let may_run = |promotion: &Promotion, begins: DateTime| promotion.asks.weekly.as_ref().is_none_or(|window| meets(window, begins));
    let of_hour = |hour: i32| {
        let begins = SOME_MONDAY.to_datetime(Time::midnight()) + hour.hours();
        let mut places = Places::none(list.len());
        list.iter().enumerate().filter(|(_, promotion)| may_run(promotion, begins)).for_each(|(place, _)| places.add(place));
        places
    };
    (0..HOURS_A_WEEK).map(of_hour).collect()
}

/// Whether a window and an hour have a minute in common: it holds as the hour begins, or begins in it.
fn meets(window: &WeeklyWindow, begins: DateTime) -> bool {
    let minutes = [0, window.start_minute % 60];
    minutes.iter().any(|minute| window.holds(begins + minute.minutes()))
}

fn hour_of_week(wall: DateTime) -> usize {
    let hour = i32::from(wall.date().weekday().to_monday_zero_offset()) * 24 + i32::from(wall.hour());
    usize::try_from(hour).expect("hours of a week are counted from 0")
}
