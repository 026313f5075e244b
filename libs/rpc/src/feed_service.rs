//! EventFeedService: the feeds of this process's databases, for other services and for subscribers outside.

mod room;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use futures::{Stream, stream};
use persistence::{Database, FeedError, FeedReader, Position};
use prost::Message;
use proto::codec::Programs;
use proto::events::event_feed_service_server::EventFeedService;
use proto::events::{Event, SubscribeRequest, SubscribeResponse};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status};

use self::room::{Room, Seat};
use crate::auth::{self, Caller, CallerExt};
use crate::directory::Directory;
use crate::host::Host;
use crate::status;

/// An answer without events is sent at the latest after this long, so that both ends know that the other is there.
const HEARTBEAT: Duration = Duration::from_secs(5);
const EVENTS_PER_ANSWER_MAX: u32 = 256;

/// The RPC of the feed.
pub(crate) struct FeedRpcs {
    feeds: BTreeMap<String, Database>,
    directory: Directory,
    room: Room,
    shutdown: CancellationToken,
}

impl FeedRpcs {
    pub(crate) fn new(host: &Host) -> FeedRpcs {
        FeedRpcs { feeds: host.feeds(), directory: host.directory().clone(), room: Room::default(), shutdown: host.shutdown().clone() }
    }
}

#[tonic::async_trait]
impl EventFeedService for FeedRpcs {
    type SubscribeStream = Pin<Box<dyn Stream<Item = Result<SubscribeResponse, Status>> + Send>>;

    async fn subscribe(&self, request: Request<SubscribeRequest>) -> Result<Response<Self::SubscribeStream>, Status> {
        let caller = request.caller();
        let SubscribeRequest { source, cursor, partitions } = request.into_inner();
        let Some(database) = self.feeds.get(&source) else {
            let message = format!("this process does not serve the feed {source}");
            return Err(status::with_reason(Code::NotFound, "SOURCE_NOT_SERVED", message, [("source", source)]));
        };
        let seat = self.room.enter(&caller)?;
        let reader = FeedReader::new(database.clone());
        let position = if cursor.is_empty() {
            reader.oldest().await.map_err(status::from_store)?
        } else {
            Position::decode(&cursor).map_err(|error| status::bad_request([("cursor", error.to_string())]))?
        };
        let partitions = partitions.into_iter().filter_map(|partition| u8::try_from(partition).ok()).collect();
        let mut subscription = Subscription {
            reader,
            position,
            partitions,
            caller,
            directory: self.directory.clone(),
            answered: Instant::now(),
            shutdown: self.shutdown.clone(),
            _seat: seat,
        };
        // Read once before the call is answered: a cursor that cannot be used is an error of the call, not of its stream.
        let first = subscription.read().await?;
        let rest = stream::unfold(subscription, |mut subscription| async move {
            let answer = subscription.next().await?;
            Some((answer, subscription))
        });
        Ok(Response::new(Box::pin(stream::StreamExt::chain(stream::iter([Ok(first)]), rest))))
    }
}

struct Subscription {
    reader: FeedReader,
    position: Position,
    partitions: Vec<u8>,
    caller: Caller,
    directory: Directory,
    answered: Instant,
    shutdown: CancellationToken,
    _seat: Option<Seat>,
}

impl Subscription {
    /// The next answer: as soon as there are events, else a sign of life. `None` when the server stops, UNAUTHENTICATED when
    /// the key has been revoked.
    async fn next(&mut self) -> Option<Result<SubscribeResponse, Status>> {
        loop {
            if self.shutdown.is_cancelled() {
                return None;
            }
            if let Err(refused) = auth::still_admitted(&self.directory, &self.caller).await {
                return Some(Err(refused));
            }
            let before = self.position;
            match self.read().await {
                // A page of events that the caller may not see is passed over without a pause.
                Ok(answer) if answer.events.is_empty() && self.answered.elapsed() < HEARTBEAT => {
                    if self.position != before {
                        continue;
                    }
                }
                answer => {
                    self.answered = Instant::now();
                    return Some(answer);
                }
            }
            self.shutdown.run_until_cancelled(self.reader.changed()).await;
        }
    }

    /// What follows the position, without events of programs that the caller may not touch.
    async fn read(&mut self) -> Result<SubscribeResponse, Status> {
        let page = self.reader.read(&self.position, &self.partitions, EVENTS_PER_ANSWER_MAX).await.map_err(refusal)?;
        self.position = page.position;
        let mut events = Vec::with_capacity(page.events.len());
        for stored in page.events {
            let event = Event::decode(&*stored.payload).map_err(|error| {
                tracing::error!(%error, partition = stored.partition, sequence = stored.sequence, "a stored event cannot be read");
                status::internal()
            })?;
            if may_see(&self.caller.programs, &event) {
                events.push(event);
            }
        }
        Ok(SubscribeResponse { events, cursor: self.position.encode() })
    }
}

/// Who may touch some programs only sees the events of these, and none that belong to no program.
fn may_see(programs: &Programs, event: &Event) -> bool {
    match programs {
        Programs::All => true,
        Programs::Only(_) => event.program.strip_prefix("programs/").is_some_and(|id| programs.admit(id)),
    }
}

fn refusal(error: FeedError) -> Status {
    match error {
        FeedError::OfAnotherFeed => status::bad_request([("cursor", error.to_string())]),
        FeedError::CursorTooOld => status::with_reason::<&str, &str>(Code::OutOfRange, "CURSOR_TOO_OLD", error.to_string(), []),
        FeedError::Store(error) => status::from_store(error),
    }
}
