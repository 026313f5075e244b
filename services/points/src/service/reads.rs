use kernel::Uuid;
use persistence::RequestKey;
use prost::Message;
use proto::points as pb;
use rpc::wire::Page;
use rpc::{Answer, status};
use tonic::Status;

use super::parse::{parse_member, parse_program, parse_purchase};
use super::{Call, Rpcs};
use crate::domain::{AccountId, Command, Known, Ledger, Outcome, Purchase, Stamp};
use crate::error::{self, StoredRefusal};
use crate::executor::Target;
use crate::message::{self, Detail};
use crate::store::{self, AnswerKind};

impl Rpcs {
    /// The same functions as an award, on a copy that is thrown away.
    pub(super) async fn preview(&self, call: &Call, message: pb::PreviewAwardRequest) -> Result<pb::AwardPreview, Status> {
        let pb::PreviewAwardRequest { parent, member, purchase } = message;
        let purchase = purchase.ok_or_else(|| status::bad_request([("purchase", "must be set")]))?;
        let parsed = self.parse_purchase_input(call, &parent, &member, &purchase, false).await?;
        let program = &parsed.program;
        let versions = program.versions.as_ref().ok_or_else(|| error::version_missing(&program.id))?;
        let now = self.now();
        parsed.origin.check_time(&self.clock, now)?;
        let stamp = Stamp {
            operation: Uuid::nil(),
            request_id: "".into(),
            occurred_at: parsed.origin.occurred_at(now),
            actor: parsed.origin.actor,
            terminal: parsed.origin.terminal,
            store: parsed.origin.store,
            now,
        };
        let mut held = match parsed.member {
            Some(member) => self.account(AccountId::of(&program.id, member)).await?,
            None => store::Locked { account: Default::default(), facts: Default::default() },
        };
        Ledger::open(&mut held.account, versions, &held.facts, &stamp).settle();
        let done = Ledger::open(&mut held.account, versions, &held.facts, &stamp).apply(&parsed.command, &Known::default());
        let (outcome, _) = done.map_err(|refusal| error::refused(&refusal))?;
        let (Outcome::Awarded { purchase, explanation }, Command::Award(_)) = (outcome, &parsed.command) else {
            return Err(status::internal());
        };
        Ok(pb::AwardPreview {
            award: Some(message::award_explanation(program, &purchase, &explanation, now)),
            points: purchase.due,
            balance: parsed.member.map(|member| message::balance(&program.id, member, &held.account, now, Detail::Figures)),
        })
    }

    /// The balances now: what has fallen due counts, whether or not it has been settled.
    pub(super) async fn balance(&self, message: pb::GetBalanceRequest) -> Result<pb::Balance, Status> {
        let (program, member) = parse_member("member", &message.member)?;
        let program = self.program(&program).await?;
        let mut held = self.account(AccountId::of(&program.id, member)).await?;
        let now = self.now();
        if let Some(versions) = &program.versions {
            let nobody = Stamp {
                operation: Uuid::nil(),
                request_id: "".into(),
                actor: "clock".into(),
                terminal: "".into(),
                store: "".into(),
                occurred_at: now,
                now,
            };
            let stored = held.account.version;
            Ledger::open(&mut held.account, versions, &held.facts, &nobody).settle();
            // Entries that have not been written have no number yet.
            held.account.version = stored;
        }
        Ok(message::balance(&program.id, member, &held.account, now, Detail::Lots))
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

    async fn account(&self, id: AccountId) -> Result<store::Locked, Status> {
        let mut tx = self.database.read().await.map_err(status::from_store)?;
        store::read_account(&mut tx, id).await.map_err(status::from_store)
    }
}
