use std::sync::Arc;

use kernel::Timestamp;
use persistence::{Error, RequestKey, Tx, retry};
use prost::Message;
use proto::points as pb;
use rpc::{Answer, status};
use tonic::Status;

use super::parse::parse_program;
use super::{Call, Rpcs};
use crate::job;
use crate::store::{self, AnswerKind, NewAnswer, StoredAnswer};

/// Accounts looked at when the caller does not say.
const ACCOUNTS_DEFAULT: i64 = 1000;

impl Rpcs {
    /// Does what is due now in one program, and remembers how much that was.
    pub(super) async fn settle(&self, call: &Call, message: pb::SettleDueRequest) -> Result<Answer<pb::SettleDueResponse>, Status> {
        let program = self.program(&parse_program("parent", &message.parent)?).await?;
        let key = RequestKey::new(&self.keyring, &program.id, &message.request_id, &message);
        let mut tx = self.database.read().await.map_err(status::from_store)?;
        if let Some(first) = remembered(&mut tx, &key, self.now()).await.map_err(status::from_store)? {
            return Ok(Answer::replay(first));
        }
        drop(tx);
        let limit = if message.accounts_max == 0 { ACCOUNTS_DEFAULT } else { i64::from(message.accounts_max) };
        let done = job::settle_program(&self.database, &self.executor, &program, self.now(), limit, call.deadline).await?;
        let answer = pb::SettleDueResponse {
            accounts: done.accounts,
            activated_points: done.activated,
            expired_points: done.expired,
            more: done.found == limit,
        };
        // What was settled is settled, whether or not this is remembered: doing it again finds nothing due.
        retry(|| self.try_remember(&key, answer)).await.map_err(status::from_store)
    }

    /// The same request, sent twice at once, is answered twice what is remembered first.
    async fn try_remember(&self, key: &RequestKey, answer: pb::SettleDueResponse) -> Result<Answer<pb::SettleDueResponse>, Error> {
        let now = self.now();
        let mut tx = self.database.begin().await?;
        if let Some(first) = remembered(&mut tx, key, now).await? {
            return Ok(Answer::replay(first));
        }
        remember(&mut tx, key, &answer, now).await?;
        tx.commit().await?;
        Ok(Answer::first(answer))
    }
}

/// The first answer to a request that moves no points by itself. REQUEST_ID_REUSED when the id came with another one, also
/// with one that the ledger has answered.
pub(super) async fn remembered<M: Message + Default>(tx: &mut Tx, key: &RequestKey, now: Timestamp) -> Result<Option<M>, Error> {
    let Some(stored) = store::read_operation(tx, key.id(), now).await? else { return Ok(None) };
    key.check(&stored.fingerprint)?;
    M::decode(&stored.answer[..]).map(Some).map_err(|_| Error::Corrupt("a remembered answer".to_owned()))
}

/// Remembers such an answer for ever. `Conflict` when the same request has been answered meanwhile.
pub(super) async fn remember(tx: &mut Tx, key: &RequestKey, answer: &impl Message, now: Timestamp) -> Result<(), Error> {
    let stored = StoredAnswer { fingerprint: key.fingerprint().to_vec(), kind: AnswerKind::Other, answer: answer.encode_to_vec() };
    store::insert_operations(tx, &[NewAnswer { operation: key.id(), stored: Arc::new(stored), recorded_at: now, forget_at: None }]).await
}
