//! Following another service's feed: each batch of events, what they cause here and the cursor are one transaction.

use std::time::Duration;

use kernel::{Context, Timestamp};
use persistence::{Database, IsRetryable, Tx, retry};
use proto::events::event_feed_service_client::EventFeedServiceClient;
use proto::events::{Event, SubscribeRequest, SubscribeResponse};
use telemetry::metrics::FeedMetrics;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::peer::Peer;
use crate::status;

/// Feeds send a sign of life every five seconds.
const SILENCE_MAX: Duration = Duration::from_secs(20);
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// A batch of large purchases may exceed the four megabytes that clients take by default.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a service does about the events of another.
pub trait EventHandler: Send + Sync + 'static {
    /// Writes what an event causes. It runs inside the transaction that moves the cursor, and again from the start when that
    /// collides with another: it does nothing that cannot be done twice and calls no other service.
    fn handle(&self, tx: &mut Tx, event: &Event) -> impl Future<Output = Result<(), HandlerError>> + Send;
}

/// Why an event was not dealt with. It is tried again for ever and holds up the feed meanwhile: passing over it would lose it.
#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    /// The database.
    #[error(transparent)]
    Database(#[from] persistence::Error),
    /// The event makes no sense here. The text goes to the log: no personal data.
    #[error("{0}")]
    Refused(String),
}

impl HandlerError {
    /// An event that makes no sense here. The text goes to the log: no personal data.
    pub fn refused(text: impl Into<String>) -> HandlerError {
        HandlerError::Refused(text.into())
    }
}

impl IsRetryable for HandlerError {
    fn is_retryable(&self) -> bool {
        matches!(self, HandlerError::Database(error) if error.is_retryable())
    }
}

/// Why following stopped, to begin again after a pause.
#[derive(Debug, thiserror::Error)]
enum Interruption {
    #[error("the feed cannot be read: {:?}, {}", .0.code(), .0.message())]
    Feed(#[from] Status),
    #[error("the feed has been silent for too long")]
    Silence,
    #[error("the source has ended the feed")]
    Ended,
    #[error("the cursor cannot be read or moved")]
    Cursor(#[from] persistence::Error),
    #[error("another replica has dealt with these events")]
    Overtaken,
    #[error("event {event_id} cannot be dealt with")]
    Event {
        event_id: String,
        #[source]
        cause: HandlerError,
    },
}

impl IsRetryable for Interruption {
    fn is_retryable(&self) -> bool {
        match self {
            Interruption::Cursor(error) => error.is_retryable(),
            Interruption::Event { cause, .. } => cause.is_retryable(),
            Interruption::Feed(_) | Interruption::Silence | Interruption::Ended | Interruption::Overtaken => false,
        }
    }
}

/// Follows one feed for one database.
pub(crate) struct Consumer<H> {
    source: String,
    client: EventFeedServiceClient<Peer>,
    database: Database,
    handler: H,
    context: Context,
    metrics: FeedMetrics,
}

impl<H: EventHandler> Consumer<H> {
    pub(crate) fn new(source: &str, peer: Peer, database: Database, handler: H, context: Context) -> Consumer<H> {
        let client = EventFeedServiceClient::new(peer).max_decoding_message_size(ANSWER_BYTES_MAX);
        let metrics = telemetry::metrics().feed(source.to_owned(), database.name().to_owned());
        Consumer { source: source.to_owned(), client, database, handler, context, metrics }
    }

    /// Follows until the server stops.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let mut pause = PAUSE_FIRST;
        while !shutdown.is_cancelled() {
            let mut progressed = false;
            let Some(interruption) = shutdown.run_until_cancelled(self.follow(&mut progressed)).await else { return };
            if progressed {
                pause = PAUSE_FIRST;
            }
            self.log(&interruption, pause);
            shutdown.run_until_cancelled(tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0)))).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Subscribes from the stored cursor and deals with batch after batch. Returns why it could not go on.
    async fn follow(&self, progressed: &mut bool) -> Interruption {
        match self.try_follow(progressed).await {
            Ok(()) => Interruption::Ended,
            Err(interruption) => interruption,
        }
    }

    async fn try_follow(&self, progressed: &mut bool) -> Result<(), Interruption> {
        let mut cursor = self.database.read().await?.cursor(self.database.name(), &self.source).await?;
        let request = SubscribeRequest { source: self.source.clone(), cursor: cursor.clone().unwrap_or_default(), partitions: Vec::new() };
        let mut feed = self.client.clone().subscribe(request).await?.into_inner();
        loop {
            let answer = tokio::time::timeout(SILENCE_MAX, feed.message()).await.map_err(|_| Interruption::Silence)?;
            let Some(batch) = answer? else { return Ok(()) };
            if cursor.as_deref() != Some(&*batch.cursor) {
                retry(|| self.try_deal_with(cursor.as_deref(), &batch)).await?;
            }
            self.report_lag(&batch);
            cursor = Some(batch.cursor);
            *progressed = true;
        }
    }

    /// One attempt is one transaction. Moving the cursor comes first, so that another replica waits instead of working in vain.
    async fn try_deal_with(&self, cursor: Option<&str>, batch: &SubscribeResponse) -> Result<(), Interruption> {
        let mut tx = self.database.begin().await?;
        tx.advance_cursor(self.database.name(), &self.source, cursor, &batch.cursor).await.map_err(|error| match error {
            persistence::Error::Conflict => Interruption::Overtaken,
            other => Interruption::Cursor(other),
        })?;
        for event in &batch.events {
            let dealt_with = self.handler.handle(&mut tx, event).await;
            dealt_with.map_err(|cause| Interruption::Event { event_id: event.event_id.clone(), cause })?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// How old the last event was when it had been dealt with; a batch without events says that nothing is waiting.
    fn report_lag(&self, batch: &SubscribeResponse) {
        let recorded = batch.events.last().and_then(|event| event.record_time.as_ref());
        let recorded = recorded.and_then(|time| Timestamp::from_parts(time.seconds, time.nanos));
        let age = recorded.map_or(Duration::ZERO, |recorded| self.context.now().since(recorded));
        self.metrics.lag(age, 0);
    }

    fn log(&self, interruption: &Interruption, pause: Duration) {
        let (source, consumer) = (&*self.source, self.database.name());
        let cause = status::chain(interruption);
        match interruption {
            // What the operator must look at: the feed stands still until it is resolved.
            Interruption::Event { .. } | Interruption::Cursor(_) => {
                tracing::error!(source, consumer, cause, ?pause, "a feed is held up; trying again");
            }
            Interruption::Feed(status) if status.code() == tonic::Code::OutOfRange => {
                tracing::error!(source, consumer, cause, ?pause, "a feed is held up; trying again");
            }
            Interruption::Feed(_) | Interruption::Silence => {
                tracing::warn!(source, consumer, cause, ?pause, "a feed is interrupted; subscribing again");
            }
            Interruption::Ended | Interruption::Overtaken => {
                tracing::debug!(source, consumer, cause, ?pause, "a feed has ended; subscribing again");
            }
        }
    }
}
