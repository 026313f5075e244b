//! Transactions on PostgreSQL over connections that stay warm.
//!
//! The driver's pool asks the server whether a connection still lives, each time that it is taken and each time that it is given back:
//! two round trips for a transaction that may have five. Here a connection whose transaction has ended well waits for the next one
//! beside the pool; the pool makes and judges all others.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::{Executor, PgConnection, PgPool, Postgres};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A connection that nobody has used for so long goes back to the pool, which asks it and ends old ones.
const WARM_MAX: Duration = Duration::from_secs(5);
/// How long the server may take to begin on a connection that has waited; one that takes longer is given up.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// The longest that a connection stays beside the pool, however busy it is.
const AWAY_MAX: Duration = Duration::from_secs(600);

/// The connections of one database in this process.
#[derive(Clone)]
pub(crate) struct Connections(Arc<Inner>);

struct Inner {
    pool: PgPool,
    /// As many permits as the pool has connections, so that the pool itself never lets anybody wait.
    room: Arc<Semaphore>,
    warm: Mutex<Vec<Held>>,
}

struct Held {
    connection: PoolConnection<Postgres>,
    /// From the pool.
    taken: Instant,
    used: Instant,
}

/// A transaction; dropping it rolls back. Or a connection on which each statement stands for itself; dropping it closes that.
pub(crate) struct PgTx {
    /// `None` before the beginning and after the end.
    held: Option<Held>,
    home: Connections,
    /// Given back when the connection is free again.
    permit: Option<OwnedSemaphorePermit>,
    autocommit: bool,
}

impl Connections {
    pub(crate) fn new(pool: PgPool) -> Connections {
        let room = Semaphore::new(pool.options().get_max_connections() as usize);
        Connections(Arc::new(Inner { pool, room: Arc::new(room), warm: Mutex::default() }))
    }

    pub(crate) fn pool(&self) -> &PgPool {
        &self.0.pool
    }

    pub(crate) async fn begin(&self) -> Result<PgTx, sqlx::Error> {
        let mut tx = self.place().await?;
        while let Some(held) = self.warm() {
            match tokio::time::timeout(ANSWER_MAX, tx.begin_on(held)).await {
                Ok(Ok(())) => return Ok(tx),
                // The server has gone since, without a word or with one, or gone and come back. Nothing was done on the connection.
                Ok(Err(_)) | Err(_) => tx.discard(),
            }
        }
        let held = self.held().await?;
        tx.begin_on(held).await?;
        Ok(tx)
    }

    /// A connection without a transaction. One that has waited may turn out to be dead at its first statement.
    pub(crate) async fn autocommit(&self) -> Result<PgTx, sqlx::Error> {
        let mut tx = self.place().await?;
        tx.autocommit = true;
        tx.held = match self.warm() {
            Some(held) => Some(held),
            None => Some(self.held().await?),
        };
        Ok(tx)
    }

    /// Waits until there is a connection to be had.
    async fn place(&self) -> Result<PgTx, sqlx::Error> {
        let room = self.0.room.clone().acquire_owned();
        let permit = tokio::time::timeout(self.0.pool.options().get_acquire_timeout(), room).await;
        let permit = permit.map_err(|_| sqlx::Error::PoolTimedOut)?.map_err(|_| sqlx::Error::PoolClosed)?;
        Ok(PgTx { held: None, home: self.clone(), permit: Some(permit), autocommit: false })
    }

    /// A connection from the pool.
    async fn held(&self) -> Result<Held, sqlx::Error> {
        let (connection, now) = (self.0.pool.acquire().await?, Instant::now());
        Ok(Held { connection, taken: now, used: now })
    }

    /// The connection that was used last; those that have waited for too long go back to the pool.
    fn warm(&self) -> Option<Held> {
        let now = Instant::now();
        let mut warm = self.lock();
        warm.retain(|held| now - held.used < WARM_MAX && now - held.taken < AWAY_MAX);
        warm.pop()
    }

    /// Ends the transaction on a connection, and keeps the connection when that went well.
    async fn end(&self, held: Held, statement: &'static str) -> Result<(), sqlx::Error> {
        let mut ending = Ending(Some(held));
        ending.0.as_mut().expect("it ends here").connection.execute(statement).await?;
        if let Some(held) = ending.0.take() {
            self.keep_warm(held);
        }
        Ok(())
    }

    fn keep_warm(&self, mut held: Held) {
        held.used = Instant::now();
        let mut warm = self.lock();
        // Looked at under the lock, behind which `close` clears the list.
        if !self.0.room.is_closed() {
            warm.push(held);
        }
    }

    pub(crate) async fn close(&self) {
        self.0.room.close();
        self.lock().clear();
        self.0.pool.close().await;
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Held>> {
        self.0.warm.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection whose transaction is being ended: given up half-way or in vain, it is closed, which rolls back.
struct Ending(Option<Held>);

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(held) = &mut self.0 {
            held.connection.close_on_drop();
        }
    }
}

impl PgTx {
    pub(crate) fn is_autocommit(&self) -> bool {
        self.autocommit
    }

    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        &mut self.held.as_mut().expect("the transaction has begun and not ended").connection
    }

    /// Once the connection is held, dropping rolls back, also when nobody waits for the beginning any more.
    async fn begin_on(&mut self, held: Held) -> Result<(), sqlx::Error> {
        self.held.insert(held).connection.execute("BEGIN").await?;
        Ok(())
    }

    pub(crate) async fn commit(mut self) -> Result<(), sqlx::Error> {
        let held = self.held.take().expect("the transaction has begun and not ended");
        if self.autocommit {
            self.home.keep_warm(held);
            return Ok(());
        }
        self.home.end(held, "COMMIT").await
    }

    /// Closes the connection, which rolls back.
    fn discard(&mut self) {
        if let Some(mut held) = self.held.take() {
            held.connection.close_on_drop();
        }
    }
}

impl Drop for PgTx {
    fn drop(&mut self) {
        // Nobody knows what a statement of its own is still doing.
        if self.autocommit {
            self.discard();
        }
        let Some(held) = self.held.take() else { return };
        match Handle::try_current() {
            Ok(runtime) => {
                let (home, permit) = (self.home.clone(), self.permit.take());
                runtime.spawn(async move {
                    // Nobody waits for it; when it fails, the connection is closed.
                    let _ = home.end(held, "ROLLBACK").await;
                    drop(permit);
                });
            }
            // Without a runtime nothing can be sent. The server rolls back when the connection is gone.
            Err(_) => drop(held.connection.detach()),
        }
    }
}
