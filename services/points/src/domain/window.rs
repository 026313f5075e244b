use jiff::ToSpan;
use jiff::civil::{DateTime, Weekday};

/// A time of day on days of the week. One that does not end after it starts ends on the next day, and belongs to the day on which it begins:
/// Friday night goes on past midnight.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WeeklyWindow {
    /// Days on which it begins.
    pub weekdays: Vec<Weekday>,
    /// Minute of the day at which it begins, 0 to 1439.
    pub start_minute: i32,
    /// Minute at which it is over, 0 to 1440.
    pub end_minute: i32,
}

impl WeeklyWindow {
    /// Whether it holds when clocks and calendar show this: an hour that clocks skip or repeat is as they show it.
    pub fn holds(&self, wall: DateTime) -> bool {
        let minute = i32::from(wall.hour()) * 60 + i32::from(wall.minute());
        let begins = |day: Weekday| self.weekdays.contains(&day);
        let today = wall.date().weekday();
        if self.start_minute < self.end_minute {
            return begins(today) && (self.start_minute..self.end_minute).contains(&minute);
        }
        let yesterday = wall.date().saturating_sub(1.day()).weekday();
        (begins(today) && minute >= self.start_minute) || (begins(yesterday) && minute < self.end_minute)
    }
}
