use persistence::{RequestKey, retry};
use prost::Message;
use proto::points as pb;
use rpc::{Answer, status};
use tonic::Status;

use super::parse::parse_program;
use super::{Call, Rpcs};
use crate::job;

/// Accounts looked at when the caller does not say.
const ACCOUNTS_DEFAULT: i64 = 1000;

impl Rpcs {
    /// Does what is due now in one program, and remembers how much that was.
    pub(super) async fn settle(&self, call: &Call, message: pb::SettleDueRequest) -> Result<Answer<pb::SettleDueResponse>, Status> {
        let program = self.program(&parse_program("parent", &message.parent)?).await?;
        let key = RequestKey::new(&self.keyring, &program.id, &message.request_id, &message);
        let mut tx = self.database.read().await.map_err(status::from_store)?;
        if let Some(first) = tx.remembered(&key).await.map_err(status::from_store)? {
            return Ok(Answer::replay(first.message(None).map_err(status::from_store)?));
        }
        drop(tx);
        let limit = if message.accounts_max == 0 { ACCOUNTS_DEFAULT } else { i64::from(message.accounts_max) };
        let done = job::settle_program(&self.database, &self.executor, &program, self.now(), limit, call.deadline).await?;
        let answer = pb::SettleDueResponse {
            accounts: done.accounts,
            activated_points: done.activated,
            expired_points: done.expired,
            more: done.accounts == limit,
        };
        // What was settled is settled, whether or not this is remembered: doing it again finds nothing due.
        retry(|| self.try_remember(&key, &answer)).await.map_err(status::from_store)?;
        Ok(Answer::first(answer))
    }

    async fn try_remember(&self, key: &RequestKey, answer: &impl Message) -> Result<(), persistence::Error> {
        let mut tx = self.database.begin().await?;
        if tx.remembered(key).await?.is_none() {
            tx.remember(key, &answer.encode_to_vec(), None, None, self.now()).await?;
        }
        tx.commit().await
    }
}
