//! Carries out lines of the specification.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;

use prost::Message;
use proto::common::Role;
use proto::events::event::Payload;
use proto::events::{MemberChanged, MemberState};
use proto::points as pb;
use proto::points::validate_terms_request::What;
use rpc::Programs;
use tonic::Status;
use tonic_types::StatusExt;
use uuid::Uuid;

use super::super::requests::*;
use super::super::suite::*;
use super::code_name;
use super::words::{Words, each, span};

/// A call that answers with an operation: RPC, who calls, and the request.
type Change = (&'static str, Role, Vec<u8>);

pub(super) struct Player {
    pub(super) suite: Suite,
    wires: BTreeMap<Role, Wire>,
    /// The operations by the names of the requests that made them.
    pub(super) made: HashMap<String, pb::Operation>,
    /// How often the state of a member was told.
    facts: i64,
    /// The vouchers by the names of the requests that issued them.
    pub(super) vouchers: HashMap<String, pb::Voucher>,
    /// The RPCs that were called.
    called: Mutex<BTreeSet<String>>,
}

impl Player {
    pub(super) async fn start(suite: Suite) -> Player {
        let mut wires = BTreeMap::new();
        for role in [Role::Platform, Role::Support, Role::Service, Role::Administrator] {
            wires.insert(role, suite.wire(role, Programs::All).await);
        }
        Player { suite, wires, made: HashMap::new(), facts: 0, vouchers: HashMap::new(), called: Mutex::default() }
    }

    /// The answer to a line in words; what the calls of a range answer alike is told once.
    pub(super) async fn play(&mut self, line: &str) -> String {
        let mut answers = Vec::new();
        for call in each(line) {
            answers.push(self.call(&Words::of(&call, self.suite.now())).await);
        }
        answers.dedup();
        answers.join(", ")
    }

    /// A new read is a new arm here; a new command is one of [`Player::change`], [`Player::correction`] or [`Player::pooled`].
    async fn call(&mut self, words: &Words<'_>) -> String {
        let change = self.change(words).or_else(|| self.correction(words)).or_else(|| self.pooled(words));
        if let Some((rpc, role, request)) = change {
            return self.operation(&words.request_id, rpc, role, request).await;
        }
        if let Some(answer) = self.rewarded(words).await {
            return answer;
        }
        let platform = Role::Platform;
        match words.verb {
            "wait" => {
                self.suite.clock.advance(span(words.word(0)));
                String::new()
            }
            "member" => {
                self.facts += 1;
                let state = if words.word(1) == "blocked" { MemberState::Blocked } else { MemberState::Closed };
                let told = Payload::MemberChanged(MemberChanged { state: state.into(), ..MemberChanged::default() });
                self.suite.members_tell(words.word(0).parse().unwrap(), told, self.facts).await;
                String::new()
            }
            "preview" => {
                let purchase = Some(self.bought(words, "any", 1));
                let request = pb::PreviewAwardRequest { parent: words.program.clone(), member: self.member(words, 0), purchase };
                self.ask("PreviewAward", platform, &request, |preview: pb::AwardPreview| preview.points.to_string()).await
            }
            "reward" => {
                let (version, wanted) = (words.word(2).trim_start_matches('v').parse().unwrap(), words.word(3) == "grant");
                let request = pb::EnsureRewardRequest { member: self.member(words, 0), ..ensure(0, words.word(1), 10, wanted, version) };
                let told =
                    |answer: pb::EnsureRewardResponse| format!("v{} {}granted", answer.version, if answer.granted { "" } else { "not " });
                self.ask("EnsureReward", Role::Service, &request, told).await
            }
            "settle" => self.ask("SettleDue", Role::Service, &settle(0), |_: pb::SettleDueResponse| "settled".to_owned()).await,
            "balance" => {
                let told = |balance: pb::Balance| {
                    let (active, pending, reserved, owed) = figures(&balance);
                    format!("{active} {pending} {reserved} {owed}")
                };
                let (effective_by_time, known_by_time) = (words.time("at"), words.time("known"));
                let request = pb::GetBalanceRequest { member: self.member(words, 0), effective_by_time, known_by_time };
                self.ask("GetBalance", platform, &request, told).await
            }
            "entries" => {
                let told = |page: pb::ListEntriesResponse| story(&page.entries.into_iter().rev().collect::<Vec<_>>()).join(", ");
                let request = pb::ListEntriesRequest { parent: self.member(words, 0), ..Default::default() };
                self.ask("ListEntries", platform, &request, told).await
            }
            "statement" => {
                let told = |first: pb::Entry| story(&[first]).join(", ");
                let request = pb::StreamEntriesRequest { parent: self.member(words, 0), start_version: 0 };
                self.ask("StreamEntries", platform, &request, told).await
            }
            "simulate" => {
                let told = |first: pb::SimulateTermsResponse| {
                    format!("{} purchases, {} points, {} instead", first.purchases, first.points, first.simulated_points)
                };
                let terms = pb::Terms { points_per_unit: words.word(0).to_owned(), ..terms() };
                let start_time = Some(prost_types::Timestamp::default());
                let request =
                    pb::SimulateTermsRequest { parent: words.program.clone(), terms: Some(terms), start_time, ..Default::default() };
                self.ask("SimulateTerms", Role::Administrator, &request, told).await
            }
            "purchase" => {
                let told = |purchase: pb::Purchase| {
                    let left = purchase.remaining_net.unwrap().minor_units;
                    format!("{}.{:02} left, {} points", left / 100, left % 100, purchase.due_points)
                };
                self.ask("GetPurchase", platform, &pb::GetPurchaseRequest { name: purchase_of(words) }, told).await
            }
            "members" => {
                let told = |pool: pb::Pool| pool.members.iter().map(told_member).collect::<Vec<_>>().join(", ");
                self.ask("GetPool", platform, &pb::GetPoolRequest { name: self.pool(words) }, told).await
            }
            "challenges" => {
                let told = |all: pb::ListMemberChallengesResponse| format!("{} challenges", all.challenges.len());
                let request = pb::ListMemberChallengesRequest { parent: self.member(words, 0), ..Default::default() };
                self.ask("ListMemberChallenges", platform, &request, told).await
            }
            "budgets" => {
                let told = |page: pb::ListBudgetsResponse| page.budgets.iter().map(told_budget).collect::<Vec<_>>().join(", ");
                self.ask("ListBudgets", platform, &pb::ListBudgetsRequest { parent: words.program.clone(), ..Default::default() }, told)
                    .await
            }
            "budget" => {
                let request = pb::GetBudgetRequest { name: format!("{}/budgets/{}", words.program, words.word(0)) };
                self.ask("GetBudget", platform, &request, |budget| told_budget(&budget)).await
            }
            "terms" => self.terms(words).await,
            "draft" | "schedule" | "withdraw" | "rollback" => self.change_terms(words).await,
            "export" => {
                let told = |answer: pb::ExportProgramResponse| answer.version.rsplit('/').next().unwrap().to_owned();
                let version = words.maybe(0).map(|number| format!("{}/versions/{number}", words.program)).unwrap_or_default();
                let request = pb::ExportProgramRequest { version, ..export(&words.program) };
                self.ask("ExportProgram", Role::Administrator, &request, told).await
            }
            "import" => {
                let file = written(plain_file());
                let content = match words.maybe(0) {
                    Some("damaged") => file[..file.len() / 2].to_owned(),
                    Some("elsewhere") => written(pb::ProgramFile { time_zone: "Europe/Berlin".to_owned(), ..plain_file() }),
                    Some("newer") => file.replace("\"formatVersion\": 1", "\"formatVersion\": 2"),
                    Some(_) => file.replace("\"CNY\"", "\"EUR\""),
                    None => file,
                };
                let told = |answer: pb::ImportProgramResponse| told_version(answer.version.unwrap());
                self.ask("ImportProgram", Role::Administrator, &import(&words.program, &content), told).await
            }
            "validate" => {
                let told = |answer: pb::ValidateTermsResponse| {
                    let finding = |one: &pb::validate_terms_response::Finding| {
                        format!("{} {}", one.severity().as_str_name().trim_start_matches("SEVERITY_").to_lowercase(), one.field)
                    };
                    if answer.findings.is_empty() {
                        "nothing".to_owned()
                    } else {
                        answer.findings.iter().map(finding).collect::<Vec<_>>().join(", ")
                    }
                };
                let what = match words.maybe(1) {
                    Some(number) => What::Version(format!("{}/versions/{number}", words.program)),
                    None => What::Terms(pb::Terms { points_per_unit: words.word(0).to_owned(), ..terms() }),
                };
                let request = pb::ValidateTermsRequest { parent: words.program.clone(), what: Some(what), start_time: None };
                self.ask("ValidateTerms", Role::Administrator, &request, told).await
            }
            other => panic!("no such call: {other}"),
        }
    }

    /// Earning, spending and giving back.
    fn change(&self, words: &Words<'_>) -> Option<Change> {
        let (parent, request_id, wallet) = (words.program.clone(), words.request_id.clone(), words.wallet());
        let owner = || self.member(words, 0);
        let (rpc, request) = match words.verb {
            "award" => {
                let purchase = Some(self.bought(words, words.word(1), 2));
                let request = pb::AwardRequest { parent, member: owner(), purchase, historical: false, request_id };
                ("Award", request.encode_to_vec())
            }
            "activity" => {
                let (occur_time, proof_url) = (words.time("at"), words.option("proof").unwrap_or_default().to_owned());
                let plain = activity(0, words.word(1), words.word(2));
                let request = pb::AwardActivityRequest { member: owner(), occur_time, request_id, proof_url, ..plain };
                ("AwardActivity", request.encode_to_vec())
            }
            "activate" => {
                let (pending_reference, occur_time) = (words.option("of").unwrap_or_default().to_owned(), words.time("at"));
                let request = activate(0, words.word(1));
                let request = pb::ActivatePendingRequest { member: owner(), pending_reference, occur_time, request_id, ..request };
                ("ActivatePending", request.encode_to_vec())
            }
            "cancel" => {
                let pending_reference = words.option("of").unwrap_or_default().to_owned();
                let request = pb::CancelPendingRequest { member: owner(), pending_reference, request_id, ..cancel(0, words.word(1)) };
                ("CancelPending", request.encode_to_vec())
            }
            "redeem" => {
                let request = pb::RedeemRequest { member: owner(), mode: words.mode(), wallet, request_id, ..redeem(0, words.points(1)) };
                ("Redeem", request.encode_to_vec())
            }
            "reserve" => {
                let ttl = words.span("for").map(|span| span.try_into().unwrap());
                let (several_captures, request) = (words.has("several"), reserve(0, words.points(1)));
                ("Reserve", pb::ReserveRequest { member: owner(), wallet, ttl, several_captures, request_id, ..request }.encode_to_vec())
            }
            "capture" => {
                let request = capture(&self.reservation(words), words.maybe_points(1));
                ("Capture", pb::CaptureRequest { last: words.has("last"), request_id, ..request }.encode_to_vec())
            }
            "release" => ("Release", pb::ReleaseRequest { name: self.reservation(words), request_id }.encode_to_vec()),
            "refund" => {
                let request = refund(&self.redemption(&words.program, words.word(0)), words.maybe_points(1));
                ("RefundRedemption", pb::RefundRedemptionRequest { request_id, ..request }.encode_to_vec())
            }
            "return" => {
                let request = pb::ReturnPurchaseRequest {
                    purchase: purchase_of(words),
                    what: Some(words.goes_back()),
                    occur_time: words.time("at"),
                    give_back_points: words.option("giving").map(|points| points.parse().unwrap()),
                    request_id,
                    ..Default::default()
                };
                ("ReturnPurchase", request.encode_to_vec())
            }
            "operation" => ("GetOperation", pb::GetOperationRequest { parent, request_id: words.word(0).to_owned() }.encode_to_vec()),
            _ => return None,
        };
        Some((rpc, Role::Platform, request))
    }

    /// What support does, and what moves points between members.
    fn correction(&self, words: &Words<'_>) -> Option<Change> {
        let (request_id, wallet) = (words.request_id.clone(), words.wallet());
        let (owner, other) = (|| self.member(words, 0), || self.member(words, 1));
        let (rpc, request) = match words.verb {
            "adjust" => {
                let request = pb::AdjustRequest { member: owner(), wallet, request_id, ..adjust(0, words.points(1)) };
                ("Adjust", request.encode_to_vec())
            }
            "expiry" => {
                let (lapse_by_time, to) = (words.time("till"), Some(words.lapse()));
                let request = pb::SetExpiryRequest { member: owner(), wallet, lapse_by_time, to, request_id, ..never_expire(0) };
                ("SetExpiry", request.encode_to_vec())
            }
            "forgive" => {
                let request = pb::ForgiveDeficitRequest { member: owner(), wallet, request_id, ..forgive(0, words.maybe_points(1)) };
                ("ForgiveDeficit", request.encode_to_vec())
            }
            "transfer" => {
                let request = transfer(0, 0, words.points(2));
                ("Transfer", pb::TransferRequest { member: owner(), to_member: other(), wallet, request_id, ..request }.encode_to_vec())
            }
            "merge" => {
                let request = pb::MergeAccountsRequest { member: owner(), merged_member: other(), request_id, ..merge(0, 0) };
                ("MergeAccounts", request.encode_to_vec())
            }
            "unmerge" => {
                let request = pb::UnmergeAccountsRequest { member: owner(), merged_member: other(), request_id, ..unmerge(0, 0) };
                ("UnmergeAccounts", request.encode_to_vec())
            }
            _ => return None,
        };
        Some((rpc, Role::Support, request))
    }

    /// What a household does.
    fn pooled(&self, words: &Words<'_>) -> Option<Change> {
        let (request_id, shares) = (words.request_id.clone(), words.has("sharing"));
        let (pool, who) = (|| self.pool(words), || self.member(words, 1));
        let (rpc, request) = match words.verb {
            "pool" => ("CreatePool", pb::CreatePoolRequest { member: self.member(words, 0), shares, request_id }.encode_to_vec()),
            "invite" => {
                let invited_member = self.member(words, 2);
                ("InviteToPool", pb::InviteToPoolRequest { pool: pool(), member: who(), invited_member, request_id }.encode_to_vec())
            }
            "join" => ("JoinPool", pb::JoinPoolRequest { pool: pool(), member: who(), shares, request_id }.encode_to_vec()),
            "share" => ("SetPoolSharing", pb::SetPoolSharingRequest { pool: pool(), member: who(), shares, request_id }.encode_to_vec()),
            "contribute" => {
                let (points, wallet) = (words.points(2), words.wallet());
                (
                    "ContributeToPool",
                    pb::ContributeToPoolRequest { pool: pool(), member: who(), wallet, points, request_id }.encode_to_vec(),
                )
            }
            "leave" => ("LeavePool", pb::LeavePoolRequest { pool: pool(), member: who(), request_id }.encode_to_vec()),
            "spend" => {
                let request = redeem_pooled(&pool(), 0, words.points(2));
                ("RedeemFromPool", pb::RedeemFromPoolRequest { member: who(), mode: words.mode(), request_id, ..request }.encode_to_vec())
            }
            _ => return None,
        };
        Some((rpc, Role::Platform, request))
    }

    /// `terms` tells how many versions there are, `terms none` asks for one that there is not, `terms 5` makes one of that rate, and
    /// `terms 5 delivered` one whose points wait for that event.
    async fn terms(&self, words: &Words<'_>) -> String {
        let number = |version: pb::ProgramVersion| version.name.rsplit('/').next().unwrap().to_owned();
        let parent = words.program.clone();
        match words.maybe(0) {
            None => {
                let request = pb::ListProgramVersionsRequest { parent, ..Default::default() };
                let told = |page: pb::ListProgramVersionsResponse| page.versions.len().to_string();
                self.ask("ListProgramVersions", Role::Platform, &request, told).await
            }
            Some("none") => {
                let request = pb::GetProgramVersionRequest { name: format!("{parent}/versions/99") };
                self.ask("GetProgramVersion", Role::Platform, &request, number).await
            }
            Some(rate) => {
                let activate_on = words.maybe(1).and_then(|event| waits_for(event, None));
                let terms = pb::Terms { points_per_unit: rate.to_owned(), activate_on, ..terms() };
                let request = pb::CreateProgramVersionRequest { parent, start_time: words.time("at"), ..new_version(terms) };
                self.ask("CreateProgramVersion", Role::Administrator, &request, number).await
            }
        }
    }

    /// `draft 5` makes a draft of that rate, the others change the version of a number.
    async fn change_terms(&self, words: &Words<'_>) -> String {
        let name = format!("{}/versions/{}", words.program, words.word(0));
        let request_id = request_id();
        let (rpc, request) = match words.verb {
            "draft" => {
                let terms = pb::Terms { points_per_unit: words.word(0).to_owned(), ..terms() };
                let request = pb::CreateProgramVersionRequest { parent: words.program.clone(), draft: true, ..new_version(terms) };
                return self.ask("CreateProgramVersion", Role::Administrator, &request, told_version).await;
            }
            "schedule" => {
                let request = pb::ScheduleProgramVersionRequest { name, start_time: words.time("at"), request_id };
                ("ScheduleProgramVersion", request.encode_to_vec())
            }
            "withdraw" => ("RetireProgramVersion", pb::RetireProgramVersionRequest { name, request_id }.encode_to_vec()),
            _ => ("RollBackProgram", pb::RollBackProgramRequest { version: name, request_id }.encode_to_vec()),
        };
        self.send(rpc, Role::Administrator, request, told_version).await
    }

    /// A purchase, and the redemptions that paid for it.
    fn bought(&self, words: &Words<'_>, purchase_id: &str, what: usize) -> pb::PurchaseInput {
        let names = words.option("paid-by").into_iter().flat_map(|names| names.split(','));
        let redemptions = names.map(|name| self.redemption(&words.program, name)).collect();
        pb::PurchaseInput { redemptions, ..words.bought(purchase_id, what) }
    }

    /// A member by his number, or the name in whose place a pool stands in its books.
    pub(super) fn member(&self, words: &Words<'_>, index: usize) -> String {
        match words.word(index).parse() {
            Ok(number) => member(number).replace(TEA, &words.program),
            Err(_) => self.made[words.word(index)].pool.as_ref().unwrap().name.replace("/pools/", "/members/"),
        }
    }

    /// A reservation by the name of the request that made it, or one that was never made. So are redemptions and pools.
    fn reservation(&self, words: &Words<'_>) -> String {
        let made = self.made.get(words.word(0)).and_then(|operation| operation.reservation.as_ref());
        made.map_or_else(|| format!("{}/reservations/{NEVER}", member(1)), |reservation| reservation.name.clone())
    }

    fn redemption(&self, program: &str, name: &str) -> String {
        self.made.get(name).map_or_else(|| format!("{program}/operations/{NEVER}"), |operation| operation.name.clone())
    }

    fn pool(&self, words: &Words<'_>) -> String {
        let made = self.made.get(words.word(0)).and_then(|operation| operation.pool.as_ref());
        made.map_or_else(|| format!("{}/pools/{NEVER}", words.program), |pool| pool.name.clone())
    }

    /// Calls an RPC that answers with an operation, which is kept under the name of its request.
    pub(super) async fn operation(&mut self, name: &str, rpc: &str, role: Role, request: Vec<u8>) -> String {
        let mut made = None;
        let told = |operation: pb::Operation| made.insert(operation).actual_points.to_string();
        let answer = self.send(rpc, role, request, told).await;
        self.made.extend(made.map(|operation| (name.to_owned(), operation)));
        answer
    }

    pub(super) async fn ask<M: Message + Default>(
        &self,
        rpc: &str,
        role: Role,
        request: &impl Message,
        tell: impl FnOnce(M) -> String,
    ) -> String {
        self.send(rpc, role, request.encode_to_vec(), tell).await
    }

    /// The RPCs that were called since this was asked last.
    pub(super) fn called(&self) -> BTreeSet<String> {
        std::mem::take(&mut self.called.lock().unwrap())
    }

    async fn send<M: Message + Default>(&self, rpc: &str, role: Role, request: Vec<u8>, tell: impl FnOnce(M) -> String) -> String {
        self.send_to("PointsService", rpc, role, request, tell).await
    }

    pub(super) async fn send_to<M: Message + Default>(
        &self,
        service: &str,
        rpc: &str,
        role: Role,
        request: Vec<u8>,
        tell: impl FnOnce(M) -> String,
    ) -> String {
        self.called.lock().unwrap().insert(rpc.to_owned());
        match raw_of(&self.wires[&role], service, rpc, request).await {
            Ok(answer) => format!("{}{}", if replayed(&answer) { "again " } else { "" }, tell(M::decode(&answer.get_ref()[..]).unwrap())),
            Err(status) => told_refusal(&status),
        }
    }
}

/// The id of what was never made.
const NEVER: Uuid = Uuid::from_u128(9);

fn purchase_of(words: &Words<'_>) -> String {
    purchase(words.word(0)).replace(TEA, &words.program)
}

/// `2 shares 50`: a member of a pool by his number, whether he shares, and what is left of what he brought.
fn told_budget(budget: &pb::Budget) -> String {
    match budget.state() {
        pb::budget::State::Paused => format!("{} spent, paused", budget.spent_points),
        _ => format!("{} spent, {} left", budget.spent_points, budget.left_points()),
    }
}

fn told_member(member: &pb::PoolMember) -> String {
    let number = member.member.rsplit('/').next().and_then(|id| Uuid::parse_str(id).ok()).unwrap().as_u128();
    let part = match (member.joined, member.shares) {
        (false, _) => "invited",
        (true, true) => "shares",
        (true, false) => "keeps",
    };
    format!("{number} {part} {}", member.points)
}

/// Code, reason, metadata and how long to wait, or the fields that are wrong.
fn told_refusal(status: &Status) -> String {
    let mut words = vec![code_name(status.code())];
    if let Some(info) = status.get_details_error_info() {
        words.push(info.reason);
        words.extend(info.metadata.into_iter().collect::<BTreeMap<_, _>>().into_iter().map(|(key, value)| format!("{key}={value}")));
    }
    words.extend(status.get_details_retry_info().and_then(|info| info.retry_delay).map(|delay| format!("retry={delay:?}")));
    words.extend(status.get_details_bad_request().into_iter().flat_map(|wrong| wrong.field_violations).map(|wrong| wrong.field));
    if status.metadata().contains_key("regulars-replayed") {
        words.insert(0, "again".to_owned());
    }
    words.join(" ")
}

fn told_version(version: pb::ProgramVersion) -> String {
    let state = version.state().as_str_name().trim_start_matches("STATE_").to_owned();
    format!("{} {state}", version.name.rsplit('/').next().unwrap())
}
