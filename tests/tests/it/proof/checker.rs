//! Looks for an order of the calls, true to time, in which the model gives every answer that was seen.
//!
//! The books fix the order of what changed a member's points: each entry has its number. So a call that wrote something takes its place
//! only where all that it writes, on both sides of a transfer or merge, stands in the books word for word. Two calls that touch one
//! account follow each other as its books say, and two that do not may come in either order; histories of many members and of commands
//! between them need no more search than those of one. What is left to find is the place of refusals, reads and replays, and the order
//! of what leaves no entry. A call may take its place once every call that had ended before it began has taken its own. One that is answered right and changes nothing can take it at once, for it harms no other;
//! among those that change something the search tries each, the one that ended first before the others.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use proto::points as pb;

use super::calls::{Answer, Call};
use super::history::{Event, Recorder, Told, books, told_moment};
use super::model::{Unexplained, World, micros};

/// Points in the search after which it is given up: one that succeeds needs a few more than there are calls.
const NODES_MAX: usize = 100_000;

/// What takes a place in the order.
enum Item<'a> {
    Call(&'a Event),
    /// What the ledger has learned of a member.
    Told(Told),
    /// What the clock did to a member without a call whose answer tells it.
    Clock {
        member: String,
        now: i64,
        entries: Vec<pb::Entry>,
    },
}

/// An order that explains everything.
pub(crate) struct Explained {
    /// The world afterwards.
    pub(crate) world: World,
    /// The calls that were refused because another call, under way at the same time, came first.
    pub(crate) overtaken: Vec<Event>,
}

struct Search<'a> {
    items: Vec<(Item<'a>, u64, u64)>,
    /// Entries of the clock that stand in the answer of an operation.
    told: HashMap<String, pb::Entry>,
    /// All entries, as they stand in the books in the end.
    written: HashMap<String, pb::Entry>,
    /// The operations that requests made, where any answer shows them: EnsureReward does not show its own.
    operations: HashMap<String, pb::Operation>,
    /// When the server carried requests out, where anything tells it.
    moments: HashMap<String, i64>,
    /// Whether each call would have succeeded, and had not, when it could first take a place.
    first_tried: BTreeMap<usize, bool>,
}

/// A point in the search: what has taken its place, the world after it, and what could come next.
struct Node {
    world: World,
    /// All items before this one have a place.
    low: usize,
    /// Further items that have one.
    done: BTreeSet<usize>,
    order: Order,
    /// Those of them whose order no answer and no book tells: two wishes for a reward of different points leave different worlds, and so
    /// do two states of a member.
    untold: Vec<usize>,
    choices: Vec<(usize, World)>,
}

/// The items in the order of their places, shared by all nodes that begin with them.
#[derive(Clone, Default)]
struct Order(Option<Arc<(usize, usize, Order)>>);

impl Order {
    fn then(&self, index: usize) -> Order {
        Order(Some(Arc::new((index, self.length() + 1, self.clone()))))
    }

    fn length(&self) -> usize {
        self.0.as_ref().map_or(0, |last| last.1)
    }

    fn newest_first(&self) -> impl Iterator<Item = usize> {
        std::iter::successors(self.0.as_ref(), |last| last.2.0.as_ref()).map(|last| last.0)
    }
}

/// Finds an order, or says where there is none.
pub(crate) fn explain(world: World, events: &[Event], recorder: &Recorder) -> Result<Explained, String> {
    let mut search = Search::new(events, recorder);
    let mut tried = HashSet::new();
    let mut best: (usize, String) = (0, String::new());
    let mut stack =
        vec![search.open(Node { world, low: 0, done: BTreeSet::new(), order: Order::default(), untold: Vec::new(), choices: Vec::new() })];
    while let Some(node) = stack.last_mut() {
        if node.low == search.items.len() {
            let node = stack.pop().expect("it is there");
            search.check_sums()?;
            let overtaken = node.order.newest_first().filter_map(|index| search.overtaken(index)).collect();
            return Ok(Explained { world: node.world, overtaken });
        }
        let Some((index, world)) = node.choices.pop() else {
            let placed = node.order.length();
            if placed >= best.0 {
                best = (placed, search.stuck(node));
            }
            stack.pop();
            continue;
        };
        let (done, order, untold) = (node.done.clone(), node.order.clone(), node.untold.clone());
        let mut next = Node { world, low: node.low, done, order, untold, choices: Vec::new() };
        next.place(index);
        if search.is_untold(index) {
            next.untold.push(index);
        }
        // The books fix the order of everything else that changes a member's points, so what has a place tells the world.
        if tried.len() == NODES_MAX {
            return Err(format!("given up after {NODES_MAX} steps; {}", best.1));
        }
        if tried.insert((next.low, next.done.clone(), next.untold.clone())) {
            let next = search.open(next);
            stack.push(next);
        }
    }
    Err(best.1)
}

impl Node {
    fn place(&mut self, index: usize) {
        self.order = self.order.then(index);
        self.done.insert(index);
        while self.done.remove(&self.low) {
            self.low += 1;
        }
    }

    fn is_placed(&self, index: usize) -> bool {
        index < self.low || self.done.contains(&index)
    }
}

impl<'a> Search<'a> {
    fn new(events: &'a [Event], recorder: &Recorder) -> Search<'a> {
        let (mut told, mut operations, mut moments) = (HashMap::new(), HashMap::new(), HashMap::new());
        for event in events {
            if let Some(operation) = event.answer().and_then(|answer| event.call.operation(answer)) {
                told.extend(operation.entries.iter().map(|entry| (entry.name.clone(), entry.clone())));
                moments.extend(operation.record_time.as_ref().map(|time| (operation.request_id.clone(), micros(time))));
                operations.insert(operation.request_id.clone(), operation);
            }
        }
        let mut items: Vec<_> = events.iter().map(|event| (Item::Call(event), event.begin, event.end)).collect();
        let mut written = HashMap::new();
        for (member, entries) in books(events) {
            written.extend(entries.iter().map(|entry| (entry.name.clone(), entry.clone())));
            for entry in entries {
                let now = entry.occur_time.as_ref().map_or(0, micros);
                if !entry.operation.is_empty() {
                    if entry.kind() == pb::EntryKind::Reward || entry.kind() == pb::EntryKind::RewardRevoked {
                        moments.insert(entry.request_id, now);
                    }
                } else if !told.contains_key(&entry.name) {
                    match items.last_mut() {
                        Some((Item::Clock { member: same, now: then, entries }, _, _))
                            if *same == member && *then == now && entries.last().is_some_and(|last| last.version + 1 == entry.version) =>
                        {
                            entries.push(entry);
                        }
                        _ => items.push((
                            Item::Clock { member: member.clone(), now, entries: vec![entry] },
                            recorder.shown_since(now),
                            u64::MAX,
                        )),
                    }
                }
            }
        }
        items.extend(
            recorder.told().into_iter().map(|told| (told.begin, told.end, told)).map(|(begin, end, told)| (Item::Told(told), begin, end)),
        );
        items.sort_by_key(|(_, begin, _)| *begin);
        Search { items, told, written, operations, moments, first_tried: BTreeMap::new() }
    }

    /// Places all that can be placed without changing anything, and finds what could change something next.
    fn open(&mut self, mut node: Node) -> Node {
        let mut judged = HashSet::new();
        loop {
            let news: Vec<usize> = self.candidates(&node).into_iter().filter(|index| judged.insert(*index)).collect();
            if news.is_empty() {
                // The last one is tried first.
                node.choices.sort_by_key(|(index, _)| std::cmp::Reverse(self.items[*index].2));
                return node;
            }
            for index in news {
                let tried = self.try_item(&node.world, index);
                let would_succeed = matches!(&tried, Err(Unexplained::Expected(answer)) if answer.result.is_ok());
                self.first_tried.entry(index).or_insert(would_succeed);
                match tried {
                    Ok((_, false)) => node.place(index),
                    Ok((world, true)) => node.choices.push((index, world)),
                    Err(_) => {}
                }
            }
        }
    }

    fn is_untold(&self, index: usize) -> bool {
        match &self.items[index].0 {
            Item::Call(event) => matches!(event.call, Call::EnsureReward(_)),
            Item::Told(_) => true,
            Item::Clock { .. } => false,
        }
    }

    /// What may come next: everything that began before the first of the others ended.
    fn candidates(&self, node: &Node) -> Vec<usize> {
        let (mut candidates, mut first_end) = (Vec::new(), u64::MAX);
        for (index, (_, begin, end)) in self.items.iter().enumerate().skip(node.low) {
            if *begin > first_end {
                break;
            }
            if !node.is_placed(index) {
                candidates.push(index);
                first_end = first_end.min(*end);
            }
        }
        candidates.retain(|index| self.items[*index].1 < first_end);
        candidates
    }

    fn try_item(&self, world: &World, index: usize) -> Result<(World, bool), Unexplained> {
        match &self.items[index].0 {
            Item::Call(event) => self.try_call(world, event),
            Item::Told(Told { member, state, .. }) => {
                // Where it comes is never all the same: what is no news now may be news later.
                let mut world = world.clone();
                world.learn(member, *state);
                Ok((world, true))
            }
            Item::Clock { member, now, entries } => {
                let mut world = world.clone();
                let settled = world.settle(member, *now);
                if settled.iter().map(|entry| &**entry).eq(entries) { Ok((world, true)) } else { Err(Unexplained::DueFirst) }
            }
        }
    }

    /// Tries a call at every moment that its time has room for.
    fn try_call(&self, world: &World, event: &Event) -> Result<(World, bool), Unexplained> {
        let answer = event.answer().expect("its outcome is known");
        let told = told_moment(&event.call, answer);
        let first = answer.result.is_ok() && !answer.replayed;
        let told = told.or_else(|| if first { self.moments.get(event.call.request_id()?).copied() } else { None });
        let nows = match told {
            // A moment that the clock did not show is not among those that are tried, so such an answer is not explained.
            Some(now) => event.nows.iter().filter(|(from, until)| *from <= now && now <= *until).map(|_| now).take(1).collect(),
            None => event.nows.iter().flat_map(|(from, until)| moments(world, &event.call, *from, *until)).collect::<Vec<_>>(),
        };
        let mut last = Unexplained::DueFirst;
        for now in nows {
            let mut after = world.clone();
            match after.explain(&event.call, now, answer, |entry| self.told.get(&entry.name) == Some(entry)) {
                Ok(true) if !self.is_its_operation(&after, &event.call) => {}
                Ok(true) if !after.written_since(world).all(|entry| self.written.get(&entry.name) == Some(entry)) => {}
                Ok(changed) => return Ok((after, changed)),
                Err(Unexplained::DueFirst) => {}
                Err(why) => last = why,
            }
        }
        Err(last)
    }

    /// Whether a call has made the operation that another answer shows of it.
    fn is_its_operation(&self, after: &World, call: &Call) -> bool {
        let Some(id) = call.request_id() else { return true };
        self.operations.get(id).is_none_or(|shown| after.operation(id).is_none_or(|made| **made == *shown))
    }

    /// A refusal that would have been a success, had the calls that overlap it not come first.
    fn overtaken(&self, index: usize) -> Option<Event> {
        let Item::Call(event) = &self.items[index].0 else { return None };
        let refused = event.answer().is_some_and(|answer| answer.result.is_err() && !answer.replayed);
        (refused && self.first_tried.get(&index) == Some(&true)).then(|| (*event).clone())
    }

    /// What `SettleDue` says that it did must be what the clock did to as many accounts as it says.
    fn check_sums(&self) -> Result<(), String> {
        let groups: Vec<_> = self
            .items
            .iter()
            .filter_map(|(item, _, _)| if let Item::Clock { member, now, entries } = item { Some((member, now, entries)) } else { None })
            .collect();
        for (item, _, _) in &self.items {
            let Item::Call(event @ Event { call: Call::SettleDue(_), .. }) = item else { continue };
            let Some(answer) = event.answer().filter(|answer| !answer.replayed).and_then(Answer::message::<pb::SettleDueResponse>) else {
                continue;
            };
            let seen = |now: i64| event.nows.iter().any(|(from, until)| *from <= now && now <= *until);
            let own: Vec<_> = groups.iter().filter(|(_, now, _)| seen(**now)).collect();
            let sums = |of: &dyn Fn(&pb::Entry) -> i64| own.iter().map(|(_, _, entries)| entries.iter().map(of).sum::<i64>()).sum::<i64>();
            let expired = sums(&|entry| if entry.kind() == pb::EntryKind::Expire { -entry.points } else { 0 });
            let activated = sums(&|entry| if entry.kind() == pb::EntryKind::Activate { -entry.lots[0].points_delta } else { 0 });
            if answer.accounts > i64::try_from(own.len()).unwrap() || answer.expired_points > expired || answer.activated_points > activated
            {
                return Err(format!(
                    "{answer:?} tells more than the clock did: {activated} activated and {expired} expired at {} accounts",
                    own.len()
                ));
            }
        }
        Ok(())
    }

    /// Where the search came to an end: what came last, and what each that could be next should have been answered.
    fn stuck(&self, node: &Node) -> String {
        let mut text =
            format!("no order explains the answers; {} of {} have a place. The last of them:\n", node.order.length(), self.items.len());
        let last: Vec<usize> = node.order.newest_first().take(8).collect();
        for index in last.into_iter().rev() {
            text += &format!("  {}\n", self.describe(index));
        }
        text += "What should come next and cannot:\n";
        for index in self.candidates(node) {
            let why = match self.try_item(&node.world, index) {
                Err(Unexplained::Expected(answer)) => match &self.items[index].0 {
                    Item::Call(event) => {
                        difference(&event.call.tell(&answer), &event.answer().map_or_else(String::new, |seen| event.call.tell(seen)))
                    }
                    Item::Clock { .. } | Item::Told(_) => String::new(),
                },
                Err(Unexplained::DueFirst) => "something has fallen due before, or the books go on otherwise".to_owned(),
                Ok(_) => "it can".to_owned(),
            };
            text += &format!("  {}\n    expected: {why}\n", self.describe(index));
        }
        text
    }

    fn describe(&self, index: usize) -> String {
        let (item, begin, end) = &self.items[index];
        match item {
            Item::Call(event) => {
                format!(
                    "[{begin}..{end}] {:?}\n    answered: {}",
                    event.call,
                    event.answer().map_or_else(String::new, |answer| event.call.tell(answer))
                )
            }
            Item::Clock { entries, .. } => format!("[{begin}..] the clock: {entries:?}"),
            Item::Told(told) => format!("[{begin}..{end}] {told:?}"),
        }
    }
}

/// The moments between two that make a difference to a call.
fn moments(world: &World, call: &Call, from: i64, until: i64) -> Vec<i64> {
    let mut moments = world.turning_points(call, from, until);
    moments.extend([from, until]);
    moments.sort_unstable();
    moments.dedup();
    moments
}

/// An expected text from a little before it differs from the one that was seen.
fn difference(expected: &str, seen: &str) -> String {
    let same = expected.char_indices().zip(seen.chars()).take_while(|((_, one), other)| one == other).count();
    let around = |text: &str| text.chars().skip(same.saturating_sub(60)).take(300).collect::<String>();
    format!("…{}\n    seen:     …{}", around(expected), around(seen))
}
