use std::borrow::Cow;
use std::collections::HashSet;

use kernel::{ProgramId, name};
use proto::points as pb;
use rpc::wire::timestamp;

use super::limits::period;
use super::promotions::{condition, line_filter, time};
use super::terms::WrongTerms;
use super::wallets::other_wallet;
use crate::domain::{Asks, Cadence, Challenge, Counts, Gift, LimitPeriod, Measure, Progress, Qualifying, Shape, Step, Streak};

type Wrong = (&'static str, &'static str);

/// Reads the challenges of terms; the error is the field that is wrong and what it must be.
pub(super) fn challenges(messages: &[pb::Challenge]) -> Result<Vec<Challenge>, WrongTerms> {
    each(messages).collect()
}

/// What is wrong with challenges, one thing about each.
pub(super) fn wrong_challenges(messages: &[pb::Challenge]) -> Vec<WrongTerms> {
    each(messages).filter_map(Result::err).collect()
}

fn each(messages: &[pb::Challenge]) -> impl Iterator<Item = Result<Challenge, WrongTerms>> {
    let mut ids = HashSet::new();
    messages.iter().enumerate().map(move |(index, message)| {
        let wrong = |(field, what): (&str, Cow<'static, str>)| (format!("challenges[{index}].{field}"), what);
        if !ids.insert(&message.challenge_id) {
            return Err(wrong(("challenge_id", "each challenge may be named once".into())));
        }
        let plain = challenge(message).map_err(|(field, what)| wrong((field, what.into())))?;
        conditional(plain, message).map_err(|what| wrong(("purchases.condition", what)))
    })
}

/// The same with the condition of the purchases that count.
fn conditional(mut challenge: Challenge, message: &pb::Challenge) -> Result<Challenge, Cow<'static, str>> {
    if let (Counts::Purchases(qualifying), Some(pb::challenge::Counts::Purchases(purchases))) = (&mut challenge.counts, &message.counts) {
        qualifying.asks.condition = condition(&purchases.condition)?;
    }
    Ok(challenge)
}

/// All but the condition.
fn challenge(message: &pb::Challenge) -> Result<Challenge, Wrong> {
    use pb::challenge::{Counts as Counting, Shape as Form};
    let (start_at, end_at) = (time("start_time", message.start_time.as_ref())?, time("end_time", message.end_time.as_ref())?);
    if let (Some(start), Some(end)) = (start_at, end_at)
        && end <= start
    {
        return Err(("end_time", "must be after start_time"));
    }
    let counts = match &message.counts {
        Some(Counting::Purchases(purchases)) => Counts::Purchases(Box::new(qualifying(purchases))),
        Some(Counting::Activity(activity)) => Counts::Activity(activity.clone()),
        None => return Err(("counts", "one of purchases and activity must be set")),
    };
    let shape = match &message.shape {
        Some(Form::Ladder(form)) => ladder(form)?,
        Some(Form::Streak(form)) => streak(form)?,
        None => return Err(("shape", "one of ladder and streak must be set")),
    };
    match (&counts, &shape) {
        (Counts::Activity(_), Shape::Ladder { measure: Measure::Spend, .. }) => {
            return Err(("ladder.measure", "nothing is spent by an activity"));
        }
        (Counts::Activity(_), Shape::Streak(Streak { cadence: Cadence::Purchase, .. })) => {
            return Err(("streak.cadence", "an activity is no purchase"));
        }
        _ => {}
    }
    Ok(Challenge {
        id: message.challenge_id.as_str().into(),
        key: Challenge::key(&message.challenge_id, &shape),
        title: message.title.clone(),
        counts,
        shape,
        start_at,
        end_at,
        day_start_minute: message.day_start_minute,
        counts_returned: message.counts_returned,
    })
}

fn qualifying(message: &pb::QualifyingPurchase) -> Qualifying {
    let pb::QualifyingPurchase { lines, spend_min, stores, channels, tiers, condition: _, tags, segments } = message.clone();
    Qualifying {
        asks: Asks { stores, channels, tiers, tags, segments, ..Asks::default() },
        lines: lines.as_ref().map(line_filter).unwrap_or_default(),
        spend_min,
    }
}

fn ladder(message: &pb::Ladder) -> Result<Shape, Wrong> {
    let within = period(message.period()).ok_or(("ladder.period", "must name a period"))?;
    let measure = match message.measure() {
        pb::ladder::Measure::Unspecified => return Err(("ladder.measure", "must name a measure")),
        pb::ladder::Measure::Times => Measure::Times,
        pb::ladder::Measure::Days => Measure::Days,
        pb::ladder::Measure::Spend => Measure::Spend,
    };
    if measure == Measure::Days && within == LimitPeriod::Ever {
        return Err(("ladder.period", "days cannot be counted for ever"));
    }
    let step = |step: &pb::Step| Ok(Step { at: step.at, gives: gift("ladder.steps.gives", step.gives.as_ref())? });
    let steps = message.steps.iter().map(step).collect::<Result<Vec<_>, Wrong>>()?;
    if !steps.is_sorted_by(|one, next| one.at < next.at) {
        return Err(("ladder.steps", "must ascend"));
    }
    Ok(Shape::Ladder { period: within, measure, steps })
}

fn streak(message: &pb::Streak) -> Result<Shape, Wrong> {
    let cadence = match message.cadence() {
        pb::streak::Cadence::Unspecified => return Err(("streak.cadence", "must name a cadence")),
        pb::streak::Cadence::Day => Cadence::Day,
        pb::streak::Cadence::Week => Cadence::Week,
        pb::streak::Cadence::Month => Cadence::Month,
        pb::streak::Cadence::Purchase => Cadence::Purchase,
    };
    let or = |given: i64, absent: i64| if given > 0 { given } else { absent };
    Ok(Shape::Streak(Streak {
        cadence,
        length: message.length,
        freezes: message.freezes,
        freezes_in_row: or(message.freezes_in_row, message.freezes),
        repair_days: or(message.repair_days.into(), Streak::REPAIR_DAYS_MAX),
        times_max: (message.times_max > 0).then_some(message.times_max),
        gives: gift("streak.gives", message.gives.as_ref())?,
    }))
}

/// The program of a reward's name is checked where the request is.
pub(super) fn gift(field: &'static str, message: Option<&pb::Gift>) -> Result<Gift, Wrong> {
    match message.and_then(|message| message.gift.as_ref()) {
        Some(pb::gift::Gift::Points(points)) => Ok(Gift::Points(*points, other_wallet(message.map_or("", |message| &message.wallet)))),
        Some(pb::gift::Gift::Reward(reward)) => {
            let named = name::segments(reward, "programs/{program}/rewards/{reward}");
            let [_, reward] = named.map_err(|_| (field, "must be the name of a reward"))?;
            Ok(Gift::Reward(reward.into()))
        }
        None => Err((field, "one of points and reward must be set")),
    }
}

/// What is given, as it is told.
pub(crate) fn gift_message(program: &ProgramId, gift: &Gift) -> pb::Gift {
    let (gift, wallet) = match gift {
        Gift::Points(points, wallet) => (pb::gift::Gift::Points(*points), wallet.as_deref().unwrap_or_default().to_owned()),
        Gift::Reward(reward) => (pb::gift::Gift::Reward(program.name_of("rewards", reward)), String::new()),
    };
    pb::Gift { gift: Some(gift), wallet }
}

/// How far somebody has come, as it is told.
pub(crate) fn progress(program: &ProgramId, progress: &Progress) -> pb::ChallengeProgress {
    let gifts = |gifts: &[Gift]| gifts.iter().map(|gift| gift_message(program, gift)).collect();
    pb::ChallengeProgress {
        challenge_id: progress.id.to_string(),
        title: progress.title.clone(),
        progress: progress.progress,
        next: progress.next.as_ref().map_or(0, |step| step.at),
        gives: progress.next.as_ref().map(|step| gift_message(program, &step.gives)),
        reached: gifts(&progress.reached),
        lost: gifts(&progress.lost),
        end_time: progress.end_at.map(timestamp),
        freezes_left: progress.freezes_left,
    }
}
