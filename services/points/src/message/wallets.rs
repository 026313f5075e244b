//! Wallets beside the main one, as terms say them and answers tell them.

use std::collections::HashSet;
use std::sync::Arc;

use proto::points as pb;
use rust_decimal::Decimal;

use super::promotions::line_filter;
use super::terms::{Wrong, WrongTerms, life, rate};
use crate::domain::{Entry, LineFilter, MAIN_WALLET, Outcome, Source, WalletTerms};

/// A wallet that is named beside the main one; `None` for that.
pub(crate) fn other_wallet(named: &str) -> Option<Arc<str>> {
    (!named.is_empty() && named != MAIN_WALLET).then(|| named.into())
}

/// A wallet that is named; empty means the main one.
pub(crate) fn wallet_or_main(named: &str) -> Arc<str> {
    if named.is_empty() { MAIN_WALLET.into() } else { named.into() }
}

/// Reads the wallets of terms, each by itself; the error is the field that is wrong and what it must be.
pub(super) fn wallets(messages: &[pb::WalletTerms]) -> impl Iterator<Item = Result<WalletTerms, WrongTerms>> {
    let mut names = HashSet::new();
    messages.iter().enumerate().map(move |(index, message)| {
        let once = match &*message.wallet {
            MAIN_WALLET => Err(("wallet", "must not be the main one, which every program has")),
            name if names.insert(name) => Ok(()),
            _ => Err(("wallet", "each wallet may be named once")),
        };
        once.and_then(|()| wallet(message)).map_err(|(field, what)| (format!("wallets[{index}].{field}"), what.into()))
    })
}

fn wallet(message: &pb::WalletTerms) -> Result<WalletTerms, Wrong> {
    let pb::WalletTerms { wallet, title, points_per_unit, lines, life: own } = message;
    let lines: LineFilter = lines.as_ref().map(line_filter).unwrap_or_default();
    if lines.quantity_min > 0 {
        return Err(("lines.quantity_min", "must be 0: a rate is for each line alone"));
    }
    let points_per_unit = if points_per_unit.is_empty() { Decimal::ZERO } else { rate(points_per_unit)? };
    if lines != LineFilter::default() && points_per_unit.is_zero() {
        return Err(("lines", "must be absent where nothing is earned by a rate"));
    }
    let own = own.as_ref().map(|own| {
        let pb::wallet_terms::Life { expire_after, expire_time, expire_after_inactivity, expiry_rounding: _ } = own;
        let times = (expire_after.as_ref(), expire_time.as_ref(), expire_after_inactivity.as_ref());
        // That each has a unit is a rule of its field.
        life(times, own.expiry_rounding()).map_err(|(_, what)| ("life.expire_time", what))
    });
    Ok(WalletTerms { name: wallet.as_str().into(), title: title.clone(), points_per_unit, lines, life: own.transpose()? })
}

/// What names a wallet that terms do not have, or names one where there are no points.
pub(super) fn unknown_wallets(terms: &pb::Terms) -> Vec<WrongTerms> {
    let is_known = |name: &str| other_wallet(name).is_none() || terms.wallets.iter().any(|wallet| wallet.wallet == name);
    let mut wrong: Vec<WrongTerms> = Vec::new();
    let mut check = |field: String, name: &str| {
        if !is_known(name) {
            wrong.push((field, "must be a wallet of these terms".into()));
        }
    };
    for (index, promotion) in terms.promotions.iter().enumerate() {
        check(format!("promotions[{index}].wallet"), &promotion.wallet);
    }
    for (index, activity) in terms.activities.iter().enumerate() {
        check(format!("activities[{index}].wallet"), &activity.wallet);
    }
    let of_occasions = || {
        let occasions = terms.occasions.iter().enumerate();
        occasions.filter_map(|(index, occasion)| Some((format!("occasions[{index}].gives.wallet"), occasion.gives.as_ref()?)))
    };
    let of_challenges = || terms.challenges.iter().enumerate().flat_map(|(index, challenge)| gifts(index, challenge));
    let gifts = || of_challenges().chain(of_occasions());
    gifts().for_each(|(field, gift)| check(field, &gift.wallet));
    let of_reward = |gift: &pb::Gift| matches!(gift.gift, Some(pb::gift::Gift::Reward(_))) && !gift.wallet.is_empty();
    wrong.extend(gifts().filter(|(_, gift)| of_reward(gift)).map(|(field, _)| (field, "must be empty for a reward".into())));
    wrong
}

/// What a challenge gives, each with the field of its wallet.
fn gifts(index: usize, challenge: &pb::Challenge) -> Vec<(String, &pb::Gift)> {
    let within = format!("challenges[{index}]");
    match &challenge.shape {
        Some(pb::challenge::Shape::Ladder(ladder)) => {
            let steps = ladder.steps.iter().enumerate();
            steps.filter_map(|(place, step)| Some((format!("{within}.ladder.steps[{place}].gives.wallet"), step.gives.as_ref()?))).collect()
        }
        Some(pb::challenge::Shape::Streak(streak)) => {
            streak.gives.iter().map(|gives| (format!("{within}.streak.gives.wallet"), gives)).collect()
        }
        None => Vec::new(),
    }
}

/// What the clock takes at once of what came free is not the command's doing.
pub(crate) fn posted(entries: &[Entry]) -> impl Iterator<Item = &Entry> {
    entries.iter().filter(|entry| entry.source != Source::Due)
}

/// The wallet whose figures an answer tells first: the main one where a command may move several, else the one that it is about.
pub(super) fn wallet_of<'a>(outcome: &Outcome, entries: &'a [Entry]) -> &'a str {
    use Outcome::{Awarded, LeftPool, Merged, PoolChanged, Returned, Unmerged};
    match outcome {
        Awarded { .. } | Returned(_) | Merged | Unmerged { .. } | PoolChanged | LeftPool { .. } => MAIN_WALLET,
        Outcome::Resolved { .. } if posted(entries).any(|entry| *entry.wallet == *MAIN_WALLET) => MAIN_WALLET,
        _ => posted(entries).next().map_or(MAIN_WALLET, |entry| &entry.wallet),
    }
}

/// What was posted in other wallets than one.
pub(crate) fn posted_beside(wallet: &str, entries: &[Entry]) -> Vec<pb::WalletPoints> {
    let mut others: Vec<pb::WalletPoints> = Vec::new();
    for entry in posted(entries).filter(|entry| *entry.wallet != *wallet) {
        match others.iter_mut().find(|known| *known.wallet == *entry.wallet) {
            Some(known) => known.points += entry.points,
            None => others.push(wallet_points((&entry.wallet, entry.points))),
        }
    }
    others
}

/// Points of a wallet, as they are told.
pub(super) fn wallet_points((wallet, points): (&str, i64)) -> pb::WalletPoints {
    pb::WalletPoints { wallet: wallet.to_owned(), points }
}
