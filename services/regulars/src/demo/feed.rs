//! The demo as a subscriber: every figure of the screen comes from here.

use std::sync::Arc;
use std::time::Duration;

use proto::events::SubscribeRequest;
use proto::events::event_feed_service_client::EventFeedServiceClient;
use rpc::Peer;
use tokio::task::JoinSet;
use tonic::Status;

use super::board::Board;
use super::chain::Chain;

const SOURCES: [&str; 5] = ["members", "points", "tiers", "referrals", "feedback"];
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// Subscribes to the feeds until the result is dropped.
pub(super) fn follow(chain: &Chain, board: &Arc<Board>) -> JoinSet<()> {
    let mut feeds = JoinSet::new();
    for source in SOURCES {
        feeds.spawn(follow_one(source, chain.platform.clone(), board.clone()));
    }
    feeds
}

/// Goes on from the last cursor whenever the connection is lost.
async fn follow_one(source: &'static str, peer: Peer, board: Arc<Board>) {
    let mut cursor = String::new();
    loop {
        if let Err(status) = subscribe(source, &peer, &board, &mut cursor).await {
            tracing::debug!(source, code = ?status.code(), "the subscription ended; it begins again");
        }
        tokio::time::sleep(RETRY_DELAY).await;
    }
}

async fn subscribe(source: &str, peer: &Peer, board: &Board, cursor: &mut String) -> Result<(), Status> {
    let request = SubscribeRequest { source: source.to_owned(), cursor: cursor.clone(), partitions: Vec::new() };
    let mut answers = EventFeedServiceClient::new(peer.clone()).subscribe(request).await?.into_inner();
    while let Some(answer) = answers.message().await? {
        for event in &answer.events {
            board.hear(event);
        }
        *cursor = answer.cursor;
    }
    Ok(())
}
