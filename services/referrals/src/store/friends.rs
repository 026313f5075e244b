use kernel::{MemberId, ProgramId};
use persistence::{DbTime, Error, Tx, on_engine};

use super::corrupt;
use crate::domain::{Friend, Purchase};

#[derive(sqlx::FromRow)]
struct FriendRow {
    enroll_time: Option<DbTime>,
    purchase_id: Option<String>,
    purchase_time: Option<DbTime>,
    net_minor: Option<i64>,
    remaining_minor: Option<i64>,
    complete_return: Option<bool>,
}

impl FriendRow {
    fn read(self) -> Result<Friend, Error> {
        let purchase = match (self.purchase_id, self.purchase_time, self.net_minor, self.remaining_minor, self.complete_return) {
            (None, None, None, None, None) => None,
            (Some(id), Some(occur_time), Some(net_minor), Some(remaining_minor), Some(complete_return)) => {
                Some(Purchase { id, occur_time: occur_time.into(), net_minor, remaining_minor, complete_return })
            }
            _ => return Err(corrupt("purchase_id")),
        };
        Ok(Friend { enroll_time: self.enroll_time.map(Into::into), first_purchase: purchase })
    }
}

/// What is known of a friend, nothing if need be, locked until the transaction ends: whoever changes the referral of a friend
/// comes this way first. An upsert that changes nothing locks on both engines and reads what is there after the wait.
pub(crate) async fn locked_friend(tx: &mut Tx, program: &ProgramId, friend: MemberId) -> Result<Friend, Error> {
    let row: FriendRow = on_engine!(tx, |conn| sqlx::query_as(
        "INSERT INTO friends (program_id, member_id) VALUES ($1, $2)
         ON CONFLICT (program_id, member_id) DO UPDATE SET member_id = excluded.member_id
         RETURNING enroll_time, purchase_id, purchase_time, net_minor, remaining_minor, complete_return",
    )
    .bind(program.as_str())
    .bind(friend.0)
    .fetch_one(conn)
    .await)?;
    row.read()
}

/// Writes back what is known of a locked friend.
pub(crate) async fn update_friend(tx: &mut Tx, program: &ProgramId, member: MemberId, friend: &Friend) -> Result<(), Error> {
    let purchase = friend.first_purchase.as_ref();
    on_engine!(tx, |conn| sqlx::query(
        "UPDATE friends
            SET enroll_time = $1, purchase_id = $2, purchase_time = $3, net_minor = $4, remaining_minor = $5, complete_return = $6
          WHERE program_id = $7 AND member_id = $8",
    )
    .bind(friend.enroll_time.map(DbTime))
    .bind(purchase.map(|purchase| &*purchase.id))
    .bind(purchase.map(|purchase| DbTime(purchase.occur_time)))
    .bind(purchase.map(|purchase| purchase.net_minor))
    .bind(purchase.map(|purchase| purchase.remaining_minor))
    .bind(purchase.map(|purchase| purchase.complete_return))
    .bind(program.as_str())
    .bind(member.0)
    .execute(conn)
    .await
    .map(drop))?;
    Ok(())
}
