//! The past under other terms.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use kernel::{MemberId, ProgramId, Timestamp, Uuid};
use persistence::Database;
use proto::points as pb;
use proto::points::simulate_terms_response::{ChallengeResult, Difference, PromotionResult};
use rpc::status;
use rpc::wire::moment;
use tonic::Status;

use super::Rpcs;
use super::parse::parse_program;
use super::programs::{checked_terms, parse_version};
use crate::domain::{Challenge, Credit, Gifts, Happened, Promotion, Simulation, Version, Versions};
use crate::executor::Target;
use crate::message;
use crate::program::Program;
use crate::store::{self, Past};

/// Members that are read at once; there is an answer for each such page.
const PAGE: i64 = 200;
/// How many of those who gain and lose most are told.
const TOP: usize = 10;

/// A simulation under way.
struct Run {
    database: Database,
    program: ProgramId,
    versions: Versions,
    start_at: Timestamp,
    end_at: Timestamp,
    /// The last account that was looked at; `None` when all have been.
    after: Option<Uuid>,
    sums: pb::SimulateTermsResponse,
    /// By what they gain and lose, the least first, so that it is the one to go when there are too many.
    gains: BTreeSet<(i64, Reverse<MemberId>, i64)>,
    losses: BTreeSet<(i64, Reverse<MemberId>, i64)>,
    /// For how many purchases each promotion would give something, and how many points.
    given: HashMap<Arc<str>, (i64, i64)>,
    /// How often each challenge would give something, how many points, and how many vouchers.
    reached: HashMap<Arc<str>, (i64, i64, i64)>,
}

/// Points of one member, and what of them lapses in the time.
#[derive(Default)]
struct Tried {
    points: i64,
    lapsed: i64,
}

impl Tried {
    fn add(&mut self, Credit { points, lapses_at }: Credit, end_at: Timestamp) {
        self.points = self.points.saturating_add(points);
        if lapses_at.is_some_and(|at| at <= end_at) {
            self.lapsed = self.lapsed.saturating_add(points);
        }
    }

    /// What challenges gave: how many points, and how many vouchers.
    fn add_gifts(&mut self, gifts: &Gifts, end_at: Timestamp) -> (i64, i64) {
        let mut sums = (0_i64, 0_i64);
        for gained in gifts.left() {
            self.add(gained.credit, end_at);
            sums = (sums.0.saturating_add(gained.credit.points), sums.1.saturating_add(gained.vouchers));
        }
        sums
    }
}

impl Rpcs {
    pub(super) async fn simulate(
        &self,
        message: pb::SimulateTermsRequest,
    ) -> Result<BoxStream<'static, Result<pb::SimulateTermsResponse, Status>>, Status> {
        let pb::SimulateTermsRequest { parent, terms, start_time, end_time, version } = message;
        let program = self.program(&parse_program("parent", &parent)?).await?;
        let (field, terms) = self.tried_terms(&program, terms.as_ref(), &version).await?;
        let terms = message::terms(checked_terms(field, Some(&terms), &program.zone)?, &program.zone)
            .map_err(|(wrong, what)| status::bad_request([(format!("{field}.{wrong}"), what)]))?;
        let start = start_time.ok_or_else(|| status::bad_request([("start_time", "must be set")]))?;
        let start_at = moment("start_time", &start)?;
        let end_at = end_time.as_ref().map(|end| moment("end_time", end)).transpose()?.unwrap_or_else(|| self.now());
        if end_at <= start_at {
            return Err(status::bad_request([("end_time", "must be after start_time")]));
        }
        let version = Version {
            number: 1,
            terms: terms.of_one_member().into(),
            start_at: Timestamp::MIN,
            zone: program.zone.clone(),
            currency: program.currency,
        };
        let reached = version.terms.challenges.iter().map(|challenge| (challenge.id.clone(), (0, 0, 0))).collect();
        let given = version.terms.promotions.iter().map(|promotion| (promotion.id.clone(), (0, 0))).collect();
        let run = Run {
            database: self.database.clone(),
            program: program.id.clone(),
            versions: Versions::new(vec![version]).ok_or_else(status::internal)?,
            start_at,
            end_at,
            after: Some(Uuid::nil()),
            sums: pb::SimulateTermsResponse::default(),
            gains: BTreeSet::new(),
            losses: BTreeSet::new(),
            given,
            reached,
        };
        Ok(stream::try_unfold(run, Run::next).boxed())
    }

    /// The terms to try, and the field that tells them.
    async fn tried_terms<'a>(
        &self,
        program: &Program,
        terms: Option<&'a pb::Terms>,
        version: &str,
    ) -> Result<(&'static str, Cow<'a, pb::Terms>), Status> {
        match (terms, version) {
            (Some(terms), "") => Ok(("terms", Cow::Borrowed(terms))),
            (Some(_), _) => Err(status::bad_request([("version", "must be empty where terms are set")])),
            (None, "") => Err(status::bad_request([("terms", "must be set, or version")])),
            (None, name) => {
                let (of, number) = parse_version("version", name)?;
                if of != program.id {
                    return Err(status::bad_request([("version", "must be of the program")]));
                }
                let history = self.programs.history(&of).await.map_err(status::from_store)?;
                let found = history.find(number).map_err(|refusal| refusal.status(&of))?;
                Ok(("version", Cow::Owned(found.terms.clone())))
            }
        }
    }
}

impl Run {
    /// One page of members. Each is a transaction of its own, so that none waits for a slow reader.
    async fn next(mut self) -> Result<Option<(pb::SimulateTermsResponse, Run)>, Status> {
        let Some(after) = self.after else { return Ok(None) };
        let mut tx = self.database.read().await.map_err(status::from_store)?;
        let key = |id: &str| Target::purchase_key(&self.program, id);
        let found = store::pasts(&mut tx, &self.program, after, PAGE, key).await.map_err(status::from_store)?;
        drop(tx);
        self.after = found.as_ref().map(|(last, _)| *last);
        for past in found.into_iter().flat_map(|(_, pasts)| pasts) {
            self.play(past)?;
        }
        let mut answer = self.sums.clone();
        if self.after.is_none() {
            answer.complete = true;
            answer.top_gains = self.gains.iter().rev().map(|entry| self.difference(entry, 1)).collect();
            answer.promotions = self.promotions();
            answer.challenges = self.challenges();
            answer.top_losses = self.losses.iter().rev().map(|entry| self.difference(entry, -1)).collect();
        }
        Ok(Some((answer, self)))
    }

    fn play(&mut self, past: Past) -> Result<(), Status> {
        let Past { account, member, facts, happened } = past;
        let mut simulation = Simulation::new(account, &self.versions, facts);
        let (mut had, mut would_have, mut gifts) = (Tried::default(), Tried::default(), Gifts::default());
        let (mut purchases, mut activities) = (0, 0);
        let end_at = self.end_at;
        let refused = |refusal| crate::error::refused(&refusal);
        for event in &happened {
            let is_meant = (self.start_at..end_at).contains(&event.occurred_at());
            match event {
                Happened::Bought(purchase) if is_meant => {
                    purchases += 1;
                    had.add(Credit { points: purchase.due, lapses_at: purchase.lapses_at() }, end_at);
                    let Some((explanation, credit)) = simulation.award(purchase).map_err(refused)? else { continue };
                    would_have.add(credit, end_at);
                    for part in &explanation.components {
                        let Some((given, sum)) = part.promotion().and_then(|id| self.given.get_mut(id)) else { continue };
                        (*given, *sum) = (*given + 1, sum.saturating_add(part.points));
                    }
                }
                Happened::Bought(purchase) => simulation.pass(purchase),
                Happened::Did(did) if is_meant => {
                    activities += 1;
                    had.add(did.had, end_at);
                    simulation.act(did).map_err(refused)?.into_iter().for_each(|credit| would_have.add(credit, end_at));
                }
                Happened::Did(_) => {}
                Happened::Given(entry, _) => gifts.take(entry, is_meant),
            }
        }
        if purchases + activities == 0 && gifts.left().next().is_none() {
            return Ok(());
        }
        let (challenge_points, vouchers) = had.add_gifts(&gifts, end_at);
        let (simulated_challenge_points, simulated_vouchers) = would_have.add_gifts(simulation.gifts(), end_at);
        for gained in simulation.gifts().left() {
            let Some(reached) = self.reached.get_mut(&gained.challenge) else { continue };
            *reached = (reached.0 + 1, reached.1.saturating_add(gained.credit.points), reached.2 + gained.vouchers);
        }
        let (points, simulated) = (had.points, would_have.points);
        let sums = &mut self.sums;
        sums.members += i64::from(purchases + activities > 0);
        sums.purchases += purchases;
        sums.activities += activities;
        let add = |sum: &mut i64, more: i64| *sum = sum.saturating_add(more);
        add(&mut sums.points, points);
        add(&mut sums.simulated_points, simulated);
        add(&mut sums.lapsed_points, had.lapsed);
        add(&mut sums.simulated_lapsed_points, would_have.lapsed);
        add(&mut sums.outstanding_points, points.saturating_sub(had.lapsed));
        add(&mut sums.simulated_outstanding_points, simulated.saturating_sub(would_have.lapsed));
        add(&mut sums.challenge_points, challenge_points);
        add(&mut sums.simulated_challenge_points, simulated_challenge_points);
        add(&mut sums.vouchers, vouchers);
        add(&mut sums.simulated_vouchers, simulated_vouchers);
        let change = simulated.saturating_sub(points);
        let (members, top) = match change {
            0 => return Ok(()),
            1.. => (&mut self.sums.gaining_members, &mut self.gains),
            _ => (&mut self.sums.losing_members, &mut self.losses),
        };
        *members += 1;
        top.insert((change.saturating_abs(), Reverse(member), points));
        if top.len() > TOP {
            top.pop_first();
        }
        Ok(())
    }

    /// In the order of the terms.
    fn promotions(&self) -> Vec<PromotionResult> {
        let result = |promotion: &Promotion| {
            let (purchases, points) = self.given.get(&promotion.id).copied().unwrap_or_default();
            PromotionResult { promotion_id: promotion.id.to_string(), purchases, points }
        };
        self.versions.at(self.end_at).terms.promotions.iter().map(result).collect()
    }

    /// In the order of the terms.
    fn challenges(&self) -> Vec<ChallengeResult> {
        let result = |challenge: &Challenge| {
            let (times, points, vouchers) = self.reached.get(&challenge.id).copied().unwrap_or_default();
            ChallengeResult { challenge_id: challenge.id.to_string(), times, points, vouchers }
        };
        self.versions.at(self.end_at).terms.challenges.iter().map(result).collect()
    }

    fn difference(&self, (change, member, points): &(i64, Reverse<MemberId>, i64), sign: i64) -> Difference {
        Difference { member: member.0.name(&self.program), points: *points, simulated_points: points + sign * change }
    }
}
