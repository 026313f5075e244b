use std::collections::HashMap;

use kernel::{ProgramId, Uuid, name};
use proto::points as pb;
use rpc::status;
use rpc::wire::Page;
use tonic::Status;

use super::Rpcs;
use super::parse::{bad_name, parse_program};
use crate::domain::{Count, Counting, Limit, Promotion};
use crate::error;
use crate::executor::Target;
use crate::message::limits::budget_message;
use crate::program::Program;
use crate::store;

const BUDGET: &str = "programs/{program}/budgets/{promotion}";

impl Rpcs {
    pub(super) async fn budget(&self, message: pb::GetBudgetRequest) -> Result<pb::Budget, Status> {
        let [program, promotion] = name::segments(&message.name, BUDGET).map_err(bad_name("name"))?;
        let program = self.program(&ProgramId::parse(program).map_err(bad_name("name"))?).await?;
        let found = self.standing(&program, |id| id == promotion).await?.pop();
        found.ok_or_else(|| error::not_found("BUDGET_NOT_FOUND", "budget of a promotion"))
    }

    pub(super) async fn budgets(&self, message: pb::ListBudgetsRequest) -> Result<pb::ListBudgetsResponse, Status> {
        let pb::ListBudgetsRequest { parent, page_size, page_token } = message;
        let program = self.program(&parse_program("parent", &parent)?).await?;
        let filter = ["budgets", &parent];
        let page = Page::<1>::parse(&filter, page_size, &page_token)?;
        let after = page.after.as_ref().map(|[id]| id.as_str());
        let mut ids = budgeted(&program, self.now()).map(|(_, promotion, _)| &*promotion.id).collect::<Vec<_>>();
        ids.retain(|id| after.is_none_or(|after| *id > after));
        ids.sort_unstable();
        let (ids, next_page_token) = page.cut(ids, |id| [(*id).to_owned()]);
        let mut budgets = self.standing(&program, |id| ids.contains(&id)).await?;
        budgets.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok(pb::ListBudgetsResponse { budgets, next_page_token })
    }

    /// How budgets stand in the period of now.
    async fn standing(&self, program: &Program, is_wanted: impl Fn(&str) -> bool) -> Result<Vec<pb::Budget>, Status> {
        let now = self.now();
        let wanted: Vec<_> = budgeted(program, now).filter(|(_, promotion, _)| is_wanted(&promotion.id)).collect();
        let count = |(_, promotion, budget): &(_, &Promotion, Limit)| {
            budget.count(Counting::Shared, promotion.counted_as(), (0, 0), now, &program.zone)
        };
        let counts = self.counted(program, wanted.iter().map(count)).await?;
        let told = wanted.iter().zip(&counts);
        Ok(told.map(|((version, promotion, budget), count)| budget_message(&program.id, version, promotion, budget, count)).collect())
    }

    /// What has been counted of what members share, in the same order.
    pub(super) async fn counted(&self, program: &Program, counts: impl Iterator<Item = Count>) -> Result<Vec<Count>, Status> {
        let mut counts: Vec<(Uuid, Count)> = counts.map(|count| (Target::counter(&program.id, &count), count)).collect();
        if !counts.is_empty() {
            let keys: Vec<Uuid> = counts.iter().map(|(key, _)| *key).collect();
            let mut tx = self.database.read().await.map_err(status::from_store)?;
            let rows = store::read_counters(&mut tx, &keys).await.map_err(status::from_store)?;
            let known: HashMap<Uuid, (i64, i64)> = rows.into_iter().map(|(key, times, points, _)| (key, (times, points))).collect();
            for (key, count) in &mut counts {
                (count.times, count.points) = known.get(key).copied().unwrap_or_default();
            }
        }
        Ok(counts.into_iter().map(|(_, count)| count).collect())
    }
}

/// The promotions of the terms of a moment that have a budget.
fn budgeted(program: &Program, at: kernel::Timestamp) -> impl Iterator<Item = (&crate::domain::Version, &Promotion, Limit)> {
    let version = program.versions.as_ref().map(|versions| versions.at(at));
    version
        .into_iter()
        .flat_map(|version| version.terms.promotions.iter().filter_map(move |promotion| Some((version, promotion, promotion.budget?))))
}
