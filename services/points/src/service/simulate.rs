//! Purchases of a time under other terms.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use kernel::{MemberId, ProgramId, Timestamp, Uuid};
use persistence::Database;
use proto::points as pb;
use proto::points::simulate_terms_response::{Difference, PromotionResult};
use rpc::status;
use rpc::wire::moment;
use tonic::Status;

use super::Rpcs;
use super::parse::parse_program;
use super::programs::checked_terms;
use crate::domain::{Promotion, Simulation, Version, Versions};
use crate::executor::Target;
use crate::message;
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
}

impl Rpcs {
    pub(super) async fn simulate(
        &self,
        message: pb::SimulateTermsRequest,
    ) -> Result<BoxStream<'static, Result<pb::SimulateTermsResponse, Status>>, Status> {
        let pb::SimulateTermsRequest { parent, terms, start_time, end_time } = message;
        let program = self.program(&parse_program("parent", &parent)?).await?;
        let terms = message::terms(checked_terms("terms", terms.as_ref(), &program.zone)?, &program.zone)
            .map_err(|(field, what)| status::bad_request([(format!("terms.{field}"), what)]))?;
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
        };
        Ok(stream::try_unfold(run, Run::next).boxed())
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
            answer.top_losses = self.losses.iter().rev().map(|entry| self.difference(entry, -1)).collect();
        }
        Ok(Some((answer, self)))
    }

    fn play(&mut self, past: Past) -> Result<(), Status> {
        let Past { account, member, facts, purchases } = past;
        let mut simulation = Simulation::new(account, &self.versions, facts);
        let (mut points, mut simulated, mut count) = (0_i64, 0_i64, 0);
        let end_at = self.end_at;
        let lapsed = |points: i64, lapses_at: Option<Timestamp>| if lapses_at.is_some_and(|at| at <= end_at) { points } else { 0 };
        for purchase in &purchases {
            if purchase.occurred_at < self.start_at || purchase.occurred_at >= self.end_at {
                simulation.pass(purchase);
                continue;
            }
            count += 1;
            points = points.saturating_add(purchase.due);
            let would_be = simulation.award(purchase).map_err(|refusal| crate::error::refused(&refusal))?;
            self.sums.lapsed_points = self.sums.lapsed_points.saturating_add(lapsed(purchase.due, purchase.lapses_at()));
            let Some((explanation, lapses_at)) = would_be else { continue };
            simulated = simulated.saturating_add(explanation.points());
            let would_lapse = lapsed(explanation.points(), lapses_at);
            self.sums.simulated_lapsed_points = self.sums.simulated_lapsed_points.saturating_add(would_lapse);
            for part in &explanation.components {
                let Some((given, sum)) = part.promotion().and_then(|id| self.given.get_mut(id)) else { continue };
                (*given, *sum) = (*given + 1, sum.saturating_add(part.points));
            }
        }
        if count == 0 {
            return Ok(());
        }
        self.sums.members += 1;
        self.sums.purchases += count;
        self.sums.points = self.sums.points.saturating_add(points);
        self.sums.simulated_points = self.sums.simulated_points.saturating_add(simulated);
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

    fn difference(&self, (change, member, points): &(i64, Reverse<MemberId>, i64), sign: i64) -> Difference {
        Difference { member: member.0.name(&self.program), points: *points, simulated_points: points + sign * change }
    }
}
