//! What challenges give to members who are one for a while.

use super::challenges::{buys, challenge, town};
use super::town::Town;

use super::*;

#[test]
fn gifts_of_two_members_are_two() {
    let gives = Gift::Reward("cup".into());
    let rule = Shape::Ladder { period: LimitPeriod::Month, measure: Measure::Times, steps: vec![Step { at: 3, gives }] };
    let mut town = town(challenge("cups", rule));
    buys(&mut town, 0, &[0]);
    buys(&mut town, 1, &[1]);
    town.merge(0, 1).unwrap();
    buys(&mut town, 1, &[2]);
    town.unmerge(0, 1).unwrap();
    buys(&mut town, 0, &[3, 4]);
    let given = |entry: &Entry| if let Source::Challenge { given, .. } = &entry.source { Some(*given) } else { None };
    let mut ids: Vec<Uuid> = town.benches.iter().flat_map(|bench| &bench.entries).filter_map(given).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 2);
}

/// What was taken back and given again in another's name while both were one is his own when they part.
#[test]
fn a_gift_that_came_again_goes_with_whose_it_is() {
    let gives = Gift::Reward("cup".into());
    let rule = Shape::Ladder { period: LimitPeriod::Month, measure: Measure::Times, steps: vec![Step { at: 2, gives }] };
    let mut town = town(challenge("cups", rule));
    buys(&mut town, 1, &[0, 1]);
    town.merge(0, 1).unwrap();
    let bought = town.benches[1].purchases[1].input.id.0.to_string();
    town.run(1, remaining(&bought, 0)).unwrap();
    buys(&mut town, 1, &[2]);
    town.unmerge(0, 1).unwrap();
    buys(&mut town, 1, &[3]);
    let ids = |town: &Town, kind: EntryKind| -> Vec<Uuid> {
        let entries = town.benches.iter().flat_map(|bench| &bench.entries).filter(|entry| entry.kind == kind);
        entries.filter_map(|entry| if let Source::Challenge { given, .. } = &entry.source { Some(*given) } else { None }).collect()
    };
    let (given, taken) = (ids(&town, EntryKind::Reward), ids(&town, EntryKind::RewardRevoked));
    assert_eq!((given.len(), taken.len()), (2, 1), "it is given, taken, and given again");
    assert!(given.iter().chain(&taken).all(|id| *id == given[0]), "and it is one cup");
    // The survivor has his own to reach.
    buys(&mut town, 0, &[4, 5]);
    assert_eq!(ids(&town, EntryKind::Reward).len(), 3);
}
