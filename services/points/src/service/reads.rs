use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use kernel::{MemberId, ProgramId, Timestamp, Uuid};
use persistence::RequestKey;
use prost::Message;
use proto::points as pb;
use rpc::wire::{Page, moment};
use rpc::{Answer, status};
use tonic::Status;

use super::parse::{parse_member, parse_program, parse_purchase};
use super::parse_pool::parse_pool;
use super::{Call, Rpcs};
use crate::domain::{AccountId, Command, Entry, Known, Ledger, MAIN_WALLET, Outcome, Purchase, Redemption, Stamp};
use crate::error::{self, StoredRefusal};
use crate::executor::Target;
use crate::message::{self, Detail};
use crate::program::Program;
use crate::store::{self, AnswerKind};

/// Entries of a streamed statement that are read at a time.
const STATEMENT_PAGE: i64 = 500;

/// Accounts that are read at most to find who has survived a member.
const STEPS_MAX: usize = 10_000;

impl Rpcs {
    /// The same functions as an award, on a copy that is thrown away.
    pub(super) async fn preview(&self, call: &Call, message: pb::PreviewAwardRequest) -> Result<pb::AwardPreview, Status> {
        let pb::PreviewAwardRequest { parent, member, purchase } = message;
        let award = pb::AwardRequest { parent, member, purchase, historical: false, request_id: String::new() };
        let parsed = self.parse_award(call, &award).await?;
        let program = &parsed.program;
        if let Some(recorded) = self.recorded(program, parsed.target, &award).await? {
            let pb::Operation { award, actual_points: points, other_points, balance, challenges, .. } = recorded;
            return Ok(pb::AwardPreview { award, points, other_points, balance, challenges });
        }
        let versions = program.versions.as_ref().ok_or_else(|| error::version_missing(&program.id))?;
        let now = self.now();
        parsed.origin.check_time(&self.clock, now)?;
        let (named, (member, mut held)) = match parsed.member {
            Some(named) => {
                let (member, held) = self.surviving(&program.id, named).await?;
                (Some(named), (Some(member), held))
            }
            None => (None, (None, store::Held::default())),
        };
        let stamp = Stamp {
            operation: Uuid::nil(),
            request_id: "".into(),
            occurred_at: parsed.origin.occurred_at(now),
            actor: parsed.origin.actor,
            terminal: parsed.origin.terminal,
            store: parsed.origin.store,
            cashier: parsed.origin.cashier,
            presented: named.filter(|_| named != member),
            now,
        };
        let id = member.map_or(AccountId(Uuid::nil()), |member| AccountId::of(&program.id, member));
        settle_unseen(program, id, &mut held, now);
        let mut redemptions = self.stored_redemptions(&parsed.command).await?;
        let own = |account: AccountId| account == id || held.account.has_merged(account);
        let spent_by = |redemption: &Redemption| redemption.spender.is_some_and(|spender| own(AccountId::of(&program.id, spender)));
        redemptions.retain(|redemption| !redemption.of_reward && (own(redemption.account) || spent_by(redemption)));
        let shared = match member {
            Some(_) => self.counted(program, versions.at(stamp.occurred_at).shared_at(stamp.place(), stamp.occurred_at)).await?,
            None => Vec::new(),
        };
        let known = Known { redemptions, shared, ..Known::default() };
        let done = Ledger::open(id, &mut held.account, versions, &held.facts, &stamp).telling_all().apply(&parsed.command, &known);
        let (outcome, entries) = done.map_err(|refusal| error::refused(&refusal))?;
        let (Outcome::Awarded { purchase, explanation }, Command::Award(_)) = (outcome, &parsed.command) else {
            return Err(status::internal());
        };
        Ok(pb::AwardPreview {
            award: Some(message::award_explanation(program, &purchase, &explanation, now)),
            points: message::posted(&entries).filter(|entry| *entry.wallet == *MAIN_WALLET).map(|entry| entry.points).sum(),
            other_points: message::posted_beside(MAIN_WALLET, &entries),
            balance: member.map(|member| message::balance(&program.id, member, &held.account, now, Detail::Figures)),
            challenges: explanation.challenges.iter().map(|known| message::challenges::progress(&program.id, known)).collect(),
        })
    }

    /// The balances now: what has fallen due counts, whether or not it has been settled.
    pub(super) async fn balance(&self, message: pb::GetBalanceRequest) -> Result<pb::Balance, Status> {
        let pb::GetBalanceRequest { member, effective_by_time, known_by_time } = message;
        let (program, member) = parse_member("member", &member)?;
        let program = self.program(&program).await?;
        let now = self.now();
        let effective_by = past("effective_by_time", effective_by_time.as_ref(), now)?;
        let known_by = past("known_by_time", known_by_time.as_ref(), now)?;
        if effective_by.is_some() || known_by.is_some() {
            return self.balance_as_of(&program, member, now, effective_by, known_by).await;
        }
        let (member, mut held) = self.surviving(&program.id, member).await?;
        let stored = held.account.version;
        settle_unseen(&program, AccountId::of(&program.id, member), &mut held, now);
        // Entries that have not been written have no number yet.
        held.account.version = stored;
        Ok(message::balance(&program.id, member, &held.account, now, Detail::Lots))
    }

    /// Σ of what had taken effect by one moment, as far as it was known at another. The books of a member who was merged into another
    /// are his own.
    async fn balance_as_of(
        &self,
        program: &Program,
        member: MemberId,
        now: Timestamp,
        effective_by: Option<Timestamp>,
        known_by: Option<Timestamp>,
    ) -> Result<pb::Balance, Status> {
        let id = AccountId::of(&program.id, member);
        let effective = effective_by.unwrap_or(Timestamp::MAX);
        let mut tx = self.database.read().await.map_err(status::from_store)?;
        let mut held = store::read_account(&mut tx, id).await.map_err(status::from_store)?;
        let sums = store::sums_as_of(&mut tx, id, effective, known_by.unwrap_or(Timestamp::MAX), held.account.version);
        let mut sums = sums.await.map_err(status::from_store)?;
        drop(tx);
        // What is due and has not been written is known now, and was not known before.
        if known_by.is_none() {
            let mut before = held.account.clone();
            for entry in settle_unseen(program, id, &mut held, now) {
                if entry.effective_at <= effective {
                    sums.add_change(&before, &entry);
                }
                before.evolve(&entry);
            }
        }
        Ok(message::balance_as_of(&program.id, member, &sums, effective_by.unwrap_or(now), known_by))
    }

    pub(super) async fn entries(&self, message: pb::ListEntriesRequest) -> Result<pb::ListEntriesResponse, Status> {
        let pb::ListEntriesRequest { parent, page_size, page_token } = message;
        let (program, member) = parse_member("parent", &parent)?;
        let program = self.program(&program).await?.id.clone();
        let filter = ["entries", &parent];
        let page = Page::<1>::parse(&filter, page_size, &page_token)?;
        let before = match &page.after {
            Some([version]) => version.parse().map_err(|_| status::bad_request([("page_token", "not a page token of this list")]))?,
            None => i64::MAX,
        };
        let mut tx = self.database.read().await.map_err(status::from_store)?;
        let account = AccountId::of(&program, member);
        let rows = store::entries_before(&mut tx, account, before, page.limit()).await.map_err(status::from_store)?;
        let entries = rows.into_iter().map(store::entry_from_row).collect::<Result<Vec<_>, _>>().map_err(status::from_store)?;
        let (entries, next_page_token) = page.cut(entries, |entry| [entry.version.to_string()]);
        Ok(pb::ListEntriesResponse {
            entries: entries.iter().map(|entry| message::entry(&program, member, entry)).collect(),
            next_page_token,
        })
    }

    /// The entries of a member from a version on, to the last one there is. A page at a time, so that no transaction waits for a slow
    /// reader.
    pub(super) async fn statement(
        &self,
        message: pb::StreamEntriesRequest,
    ) -> Result<BoxStream<'static, Result<pb::Entry, Status>>, Status> {
        let (program, member) = parse_member("parent", &message.parent)?;
        let program = self.program(&program).await?.id.clone();
        let (database, account) = (self.database.clone(), AccountId::of(&program, member));
        let pages = stream::try_unfold(Some(message.start_version.max(1)), move |from| {
            let (database, program) = (database.clone(), program.clone());
            async move {
                let Some(from) = from else { return Ok(None) };
                let mut tx = database.read().await.map_err(status::from_store)?;
                let rows = store::entries_from(&mut tx, account, from, STATEMENT_PAGE).await.map_err(status::from_store)?;
                drop(tx);
                let entries = rows.into_iter().map(store::entry_from_row).collect::<Result<Vec<_>, _>>().map_err(status::from_store)?;
                let is_full = i64::try_from(entries.len()) == Ok(STATEMENT_PAGE);
                let next = entries.last().filter(|_| is_full).map(|last| last.version + 1);
                let entries: Vec<_> = entries.iter().map(|entry| Ok(message::entry(&program, member, entry))).collect();
                Ok::<_, Status>(Some((stream::iter(entries), next)))
            }
        });
        Ok(pages.try_flatten().boxed())
    }

    /// A pool; what is due has been done in what it tells.
    pub(super) async fn pool(&self, message: pb::GetPoolRequest) -> Result<pb::Pool, Status> {
        let (program, pool) = parse_pool("name", &message.name)?;
        let program = self.program(&program).await?;
        let id = AccountId::of(&program.id, pool);
        let mut tx = self.database.read().await.map_err(status::from_store)?;
        let mut held = store::read_account(&mut tx, id).await.map_err(status::from_store)?;
        drop(tx);
        settle_unseen(&program, id, &mut held, self.now());
        message::pool(&program.id, pool, &held.account).ok_or_else(|| error::not_found("POOL_NOT_FOUND", "pool"))
    }

    pub(super) async fn purchase(&self, message: pb::GetPurchaseRequest) -> Result<pb::Purchase, Status> {
        let (program, id) = parse_purchase("name", &message.name)?;
        let program = self.program(&program).await?;
        let found = self.stored_purchase(Target::purchase(&program.id, &id)).await?;
        let found = found.ok_or_else(|| error::not_found("PURCHASE_NOT_FOUND", "purchase"))?;
        Ok(message::purchase(&program, &found))
    }

    /// The first answer to a request, or the refusal that it got.
    pub(super) async fn first_answer(&self, message: pb::GetOperationRequest) -> Result<Answer<pb::Operation>, Status> {
        let program = parse_program("parent", &message.parent)?;
        // The key of a request depends on program and request id alone.
        let key = RequestKey::new(&self.keyring, &program, &message.request_id, &message);
        let mut tx = self.database.read().await.map_err(status::from_store)?;
        let stored = store::read_operation(&mut tx, key.id(), self.now()).await.map_err(status::from_store)?;
        let not_found = || error::not_found("OPERATION_NOT_FOUND", "operation");
        let stored = stored.ok_or_else(not_found)?;
        match stored.kind {
            AnswerKind::Operation => Ok(Answer::replay(pb::Operation::decode(&stored.answer[..]).map_err(|_| status::internal())?)),
            AnswerKind::Refusal => Err(StoredRefusal::read(&stored.answer).map_err(status::from_store)?.replayed()),
            AnswerKind::Other => Err(not_found()),
        }
    }

    pub(super) async fn stored_purchase(&self, target: Target) -> Result<Option<Purchase>, Status> {
        let Target::Purchase(key) = target else { return Ok(None) };
        let mut tx = self.database.read().await.map_err(status::from_store)?;
        store::purchase(&mut tx, key).await.map_err(status::from_store)
    }

    /// What was answered when the purchase was recorded, if it was. Another one under the same id is refused, as an award is.
    async fn recorded(&self, program: &Program, target: Target, award: &pb::AwardRequest) -> Result<Option<pb::Operation>, Status> {
        let Some(purchase) = self.stored_purchase(target).await? else { return Ok(None) };
        let mut tx = self.database.read().await.map_err(status::from_store)?;
        let answers = store::operations(&mut tx, &[purchase.operation], self.now()).await.map_err(status::from_store)?;
        let first = answers.get(&purchase.operation).ok_or_else(status::internal)?;
        match RequestKey::new(&self.keyring, &program.id, "", award).check(&first.fingerprint) {
            Err(persistence::Error::RequestIdReused { field }) => Err(error::purchase_exists(&field)),
            checked => {
                checked.map_err(status::from_store)?;
                pb::Operation::decode(&first.answer[..]).map(Some).map_err(|_| status::internal())
            }
        }
    }

    /// The redemptions that a purchase names.
    async fn stored_redemptions(&self, command: &Command) -> Result<Vec<Redemption>, Status> {
        let Command::Award(award) = command else { return Ok(Vec::new()) };
        if award.purchase.redemptions.is_empty() {
            return Ok(Vec::new());
        }
        let mut tx = self.database.read().await.map_err(status::from_store)?;
        let found = store::redemptions(&mut tx, &award.purchase.redemptions).await.map_err(status::from_store)?;
        Ok(found.into_values().collect())
    }

    /// The account of a member, or of who survived him, through all merges.
    pub(super) async fn surviving(&self, program: &ProgramId, named: MemberId) -> Result<(MemberId, store::Held), Status> {
        let own = AccountId::of(program, named);
        let mut member = named;
        let mut tx = self.database.read().await.map_err(status::from_store)?;
        for _ in 0..STEPS_MAX {
            let id = AccountId::of(program, member);
            let held = store::read_account(&mut tx, id).await.map_err(status::from_store)?;
            member = match held.account.merged_into {
                Some(survivor) => survivor,
                None if id == own || held.account.has_merged(own) => return Ok((member, held)),
                // The survivor was read after he had let the other go: his account is no longer the one that was asked for.
                None => named,
            };
        }
        Err(status::internal())
    }
}

/// Does in memory what has fallen due and has not been written yet.
pub(super) fn settle_unseen(program: &Program, id: AccountId, held: &mut store::Held, now: Timestamp) -> Vec<Entry> {
    let Some(versions) = &program.versions else { return Vec::new() };
    Ledger::open(id, &mut held.account, versions, &held.facts, &Stamp::of_clock(now)).settle().entries
}

/// A moment that a caller asks about, which must not lie ahead.
fn past(field: &'static str, given: Option<&prost_types::Timestamp>, now: Timestamp) -> Result<Option<Timestamp>, Status> {
    let Some(given) = given else { return Ok(None) };
    let at = moment(field, given)?;
    if at > now {
        return Err(error::untimely(field, "TIME_IN_FUTURE", "lies ahead of the server's clock"));
    }
    Ok(Some(at))
}
