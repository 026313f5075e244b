//! What counts, and on which day.

use jiff::civil::Date;

use super::scheme::OnReturn;

/// Points that count for a day, and the day on which they became so: later than `day` for a return.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counted {
    /// The day of the purchase.
    pub day: Date,
    /// The day of the purchase, or of the return that took points of it back.
    pub known: Date,
    /// Signed points.
    pub points: i64,
}

/// The counted points of a member, summed so that any span of days costs two look-ups.
pub struct Points {
    /// Days with purchases, ascending, each with the sum of the points up to and with it as they were on that day.
    sums: Vec<(Date, i64)>,
    /// Returns that came on a later day than their purchase.
    returns: Vec<Counted>,
}

impl Points {
    /// Sums up. Under [`OnReturn::Reevaluate`] a return counts as if it had been known on the day of the purchase.
    pub fn new(counted: &[Counted], on_return: OnReturn) -> Points {
        let (mut bought, returns): (Vec<Counted>, Vec<Counted>) =
            counted.iter().partition(|item| on_return == OnReturn::Reevaluate || item.known <= item.day);
        bought.sort_by_key(|item| item.day);
        let mut sums: Vec<(Date, i64)> = Vec::new();
        let mut sum = 0_i64;
        for item in bought {
            sum = sum.saturating_add(item.points);
            match sums.last_mut() {
                Some(last) if last.0 == item.day => last.1 = sum,
                _ => sums.push((item.day, sum)),
            }
        }
        // A day of which everything went back is no day of purchase.
        let mut before = 0;
        sums.retain(|(_, sum)| std::mem::replace(&mut before, *sum) < *sum);
        Points { sums, returns }
    }

    /// The days on which something was bought, ascending.
    pub fn days(&self) -> impl Iterator<Item = Date> + '_ {
        self.sums.iter().map(|(day, _)| *day)
    }

    /// The points of the days `first` to `last`, as they stood on the day `known`.
    pub fn between(&self, first: Date, last: Date, known: Date) -> i64 {
        let up_to = |end: usize| end.checked_sub(1).map_or(0, |index| self.sums[index].1);
        let bought = up_to(self.sums.partition_point(|(day, _)| *day <= last)) - up_to(self.sums.partition_point(|(day, _)| *day < first));
        let returned: i64 =
            self.returns.iter().filter(|item| item.known <= known && first <= item.day && item.day <= last).map(|item| item.points).sum();
        bought.saturating_add(returned)
    }

    /// The first day of purchase from `first` on.
    pub fn first_day_from(&self, first: Date) -> Option<Date> {
        self.sums.get(self.sums.partition_point(|(day, _)| *day < first)).map(|(day, _)| *day)
    }
}
