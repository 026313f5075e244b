//! What vouchers that are used keep from others.

use std::collections::HashMap;

use kernel::Uuid;
use persistence::{Connection, Engine, Error, Traced, Tx};
use prost::Message;

use super::bulk::by_keys;
use super::codec;
use crate::domain::rewards::{Combining, Hold, Holder};

#[derive(Clone, PartialEq, Message)]
struct StoredHolders {
    #[prost(message, repeated, tag = "1")]
    holders: Vec<StoredHolder>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredHolder {
    #[prost(bytes, tag = "1")]
    voucher: Vec<u8>,
    #[prost(string, tag = "2")]
    order: String,
    #[prost(bool, tag = "3")]
    alone: bool,
    #[prost(string, optional, tag = "4")]
    group: Option<String>,
    #[prost(bytes, repeated, tag = "5")]
    first_orders: Vec<Vec<u8>>,
}

/// Key, version, holders.
type HoldRow = (Uuid, i64, Vec<u8>);

/// Locks holds in key order and reads them. What nobody has held is not there; should another process write it meanwhile, writing it fails with
/// `Conflict`.
pub(crate) async fn lock_holds(tx: &mut Tx, keys: &[Uuid]) -> Result<HashMap<Uuid, Hold>, Error> {
    match tx.engine() {
        Engine::Postgres => {
            let sql =
                by_keys!(tx, keys, "SELECT hold_key, version, holders FROM voucher_holds WHERE hold_key", "ORDER BY hold_key FOR UPDATE");
            read(sql?)
        }
        Engine::Sqlite => holds(tx, keys).await,
    }
}

/// The same without a lock.
pub(crate) async fn holds(tx: &mut Tx, keys: &[Uuid]) -> Result<HashMap<Uuid, Hold>, Error> {
    read(by_keys!(tx, keys, "SELECT hold_key, version, holders FROM voucher_holds WHERE hold_key", "")?)
}

fn read(rows: Vec<HoldRow>) -> Result<HashMap<Uuid, Hold>, Error> {
    let uuid = |bytes: &[u8]| Uuid::from_slice(bytes).map_err(|_| Error::Corrupt("holder of an order".to_owned()));
    let holder = |StoredHolder { voucher, order, alone, group, first_orders }: StoredHolder| {
        let first_orders = first_orders.iter().map(|key| uuid(key)).collect::<Result<_, Error>>()?;
        Ok(Holder { voucher: uuid(&voucher)?, order, combining: Combining { alone, group }, first_orders })
    };
    let hold = |(key, version, holders): HoldRow| {
        let StoredHolders { holders } = codec::decode(&holders, "holders of an order")?;
        Ok((key, Hold { holders: holders.into_iter().map(holder).collect::<Result<_, Error>>()?, version }))
    };
    rows.into_iter().map(hold).collect()
}

fn stored(hold: &Hold) -> Vec<u8> {
    let holder = |Holder { voucher, order, combining: Combining { alone, group }, first_orders }: &Holder| StoredHolder {
        voucher: voucher.as_bytes().to_vec(),
        order: order.clone(),
        alone: *alone,
        group: group.clone(),
        first_orders: first_orders.iter().map(|key| key.as_bytes().to_vec()).collect(),
    };
    StoredHolders { holders: hold.holders.iter().map(holder).collect() }.encode_to_vec()
}

/// Writes holds, in key order, each with the version that it was read at: where another process has been faster it is a `Conflict`.
pub(crate) async fn write_holds(tx: &mut Tx, holds: &[(Uuid, i64, &Hold)]) -> Result<(), Error> {
    let (new, known): (Vec<_>, Vec<_>) = holds.iter().copied().partition(|(_, read_at, _)| *read_at == 0);
    let written = match tx.connection() {
        Connection::Postgres(conn) => {
            let mut written = 0;
            for (rows, sql) in [(&new, INSERT), (&known, UPDATE)].into_iter().filter(|(rows, _)| !rows.is_empty()) {
                let query = sqlx::query(sql)
                    .bind(rows.iter().map(|row| row.0).collect::<Vec<_>>())
                    .bind(rows.iter().map(|row| row.1).collect::<Vec<_>>())
                    .bind(rows.iter().map(|row| row.2.version).collect::<Vec<_>>())
                    .bind(rows.iter().map(|row| stored(row.2)).collect::<Vec<_>>());
                written += query.execute(Traced(&mut *conn)).await?.rows_affected();
            }
            written
        }
        Connection::Sqlite(conn) => {
            let sql = "
                INSERT INTO voucher_holds (hold_key, version, holders) VALUES ($1, $3, $4)
                ON CONFLICT (hold_key) DO UPDATE SET version = excluded.version, holders = excluded.holders WHERE version = $2";
            let mut written = 0;
            for (key, read_at, hold) in holds {
                let query = sqlx::query(sql).bind(*key).bind(*read_at).bind(hold.version).bind(stored(hold));
                written += query.execute(Traced(&mut *conn)).await?.rows_affected();
            }
            written
        }
    };
    super::all_written(written, holds.len())
}

const INSERT: &str = "
    INSERT INTO voucher_holds (hold_key, version, holders)
    SELECT n.hold_key, n.version, n.holders
      FROM unnest($1::UUID[], $2::BIGINT[], $3::BIGINT[], $4::BYTEA[]) AS n (hold_key, read_at, version, holders)
    ON CONFLICT (hold_key) DO NOTHING";
const UPDATE: &str = "
    UPDATE voucher_holds h SET version = n.version, holders = n.holders
      FROM unnest($1::UUID[], $2::BIGINT[], $3::BIGINT[], $4::BYTEA[]) AS n (hold_key, read_at, version, holders)
     WHERE h.hold_key = n.hold_key AND h.version = n.read_at";
