use std::time::Duration;

use kernel::{Timestamp, Uuid};
use persistence::feed::{Lag, PARTITIONS, partition_of};
use persistence::{Database, FeedError, FeedEvent, FeedReader, NewEvent, Position};
use testkit::{START, TestEngine};

const DAY: Duration = Duration::from_secs(86_400);

testkit::on_each_engine!(
    events_come_as_they_were_written,
    what_is_rolled_back_never_comes,
    many_events_at_once_keep_their_order,
    partitions_can_be_shared_out,
    a_page_takes_from_every_partition,
    the_newest_position_passes_over_what_is_there,
    waiting_ends_when_something_comes,
    another_feeds_cursor_is_refused,
    dropped_events_are_missed,
    trimming_stops_at_the_first_younger_event,
    the_lag_is_told,
);

async fn events_come_as_they_were_written(engine: TestEngine) {
    let feed = Feed::open(&engine).await;
    append(&feed.database, &[("a", "first", START), ("a", "second", START + DAY)]).await;
    let (events, position) = feed.wait_for(2).await;
    let event = |sequence, at, payload: &[u8]| FeedEvent { partition: partition_of("a"), sequence, at, payload: payload.to_vec() };
    assert_eq!(events, [event(1, START, b"first"), event(2, START + DAY, b"second")]);
    assert_eq!(feed.reader().read(&position, &[], 10).await.unwrap().events, []);
}

async fn what_is_rolled_back_never_comes(engine: TestEngine) {
    let feed = Feed::open(&engine).await;
    let mut tx = feed.database.begin().await.unwrap();
    tx.append_events(vec![]).await.unwrap();
    tx.append_event(new("a", "gone", START)).await.unwrap();
    drop(tx);
    append(&feed.database, &[("a", "stays", START)]).await;
    let (events, _) = feed.wait_for(1).await;
    assert_eq!((events[0].sequence, &*events[0].payload), (1, &b"stays"[..]));
}

async fn many_events_at_once_keep_their_order(engine: TestEngine) {
    // More than SQLite takes in one statement, and from several calls in one transaction.
    let feed = Feed::open(&engine).await;
    let mut tx = feed.database.begin().await.unwrap();
    let events = |range: std::ops::Range<u32>| range.map(|number| new("a", &format!("{number:05}"), START)).collect::<Vec<_>>();
    tx.append_events(events(0..9_000)).await.unwrap();
    tx.append_event(new("a", "09000", START)).await.unwrap();
    tx.append_events(events(9_001..9_010)).await.unwrap();
    tx.commit().await.unwrap();
    let (events, _) = feed.wait_for(9_010).await;
    let expected: Vec<Vec<u8>> = (0..9_010).map(|number| format!("{number:05}").into_bytes()).collect();
    assert_eq!(events.into_iter().map(|event| event.payload).collect::<Vec<_>>(), expected);
}

async fn partitions_can_be_shared_out(engine: TestEngine) {
    let feed = Feed::open(&engine).await;
    let streams: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    let events: Vec<_> = streams.iter().map(|stream| (&**stream, &**stream, START)).collect();
    append(&feed.database, &events).await;
    feed.wait_for(100).await;

    let reader = feed.reader();
    let start = reader.oldest().await.unwrap();
    let low: Vec<u8> = (0..8).collect();
    let high: Vec<u8> = (8..PARTITIONS).collect();
    let first = reader.read(&start, &low, 1_000).await.unwrap();
    let second = reader.read(&start, &high, 1_000).await.unwrap();
    assert!(first.events.iter().all(|event| event.partition < 8));
    assert!(second.events.iter().all(|event| event.partition >= 8));
    assert_eq!(first.events.len() + second.events.len(), 100);
    // A position that has moved in some partitions goes on in the others.
    let rest = reader.read(&first.position, &[], 1_000).await.unwrap();
    assert_eq!(rest.events, second.events);
}

async fn a_page_takes_from_every_partition(engine: TestEngine) {
    let feed = Feed::open(&engine).await;
    let other = (0..).map(|number| number.to_string()).find(|name| partition_of(name) != partition_of("busy")).unwrap();
    append(&feed.database, &[("busy", "x", START); 50]).await;
    append(&feed.database, &[(&other, "quiet", START)]).await;
    feed.wait_for(51).await;
    let reader = feed.reader();
    let page = reader.read(&reader.oldest().await.unwrap(), &[], 10).await.unwrap();
    assert!(page.events.len() <= 10);
    assert!(page.events.iter().any(|event| event.payload == b"quiet"), "a busy partition keeps the others waiting");
}

async fn the_newest_position_passes_over_what_is_there(engine: TestEngine) {
    let feed = Feed::open(&engine).await;
    append(&feed.database, &[("a", "before", START)]).await;
    feed.wait_for(1).await;
    let position = feed.reader().newest().await.unwrap();
    append(&feed.database, &[("a", "after", START)]).await;
    let page = testkit::eventually(|| async {
        let page = feed.reader().read(&position, &[], 10).await.unwrap();
        (!page.events.is_empty()).then_some(page)
    })
    .await;
    assert_eq!(page.events.iter().map(|event| &*event.payload).collect::<Vec<_>>(), [b"after"]);
}

async fn waiting_ends_when_something_comes(engine: TestEngine) {
    let feed = Feed::open(&engine).await;
    let mut reader = feed.reader();
    let position = reader.oldest().await.unwrap();
    let waiting = async {
        loop {
            reader.changed().await;
            let page = reader.read(&position, &[], 10).await.unwrap();
            if !page.events.is_empty() {
                return page.events.len();
            }
        }
    };
    let write = append(&feed.database, &[("a", "x", START)]);
    let (count, ()) = tokio::join!(tokio::time::timeout(Duration::from_secs(20), waiting), write);
    assert_eq!(count.unwrap(), 1);
}

async fn another_feeds_cursor_is_refused(engine: TestEngine) {
    let feed = Feed::open(&engine).await;
    let other = FeedReader::new(engine.open("tiers", &[]).await);
    let foreign = other.oldest().await.unwrap();
    let error = feed.reader().read(&foreign, &[], 10).await.unwrap_err();
    assert!(matches!(error, FeedError::OfAnotherFeed), "{error:?}");
    assert!(matches!(feed.reader().lag(&foreign).await, Err(FeedError::OfAnotherFeed)));

    // The same database under another handle has the same feed.
    let again = FeedReader::new(engine.open("points", &[]).await);
    assert_eq!(again.oldest().await.unwrap(), feed.reader().oldest().await.unwrap());
}

async fn dropped_events_are_missed(engine: TestEngine) {
    let feed = Feed::open(&engine).await;
    append(&feed.database, &[("a", "1", START), ("a", "2", START), ("a", "3", START + DAY)]).await;
    let (_, end) = feed.wait_for(3).await;
    let reader = feed.reader();
    let start = reader.oldest().await.unwrap();
    assert_eq!(feed.database.trim_feed(START, 100).await.unwrap(), 0);
    assert_eq!(feed.database.trim_feed(START + DAY, 1).await.unwrap(), 1);
    assert_eq!(feed.database.trim_feed(START + DAY, 100).await.unwrap(), 1);
    assert_eq!(feed.database.trim_feed(START + DAY, 100).await.unwrap(), 0);

    let error = reader.read(&start, &[], 10).await.unwrap_err();
    assert!(matches!(error, FeedError::CursorTooOld), "{error:?}");
    assert!(matches!(reader.lag(&start).await, Err(FeedError::CursorTooOld)));
    assert_eq!(reader.read(&end, &[], 10).await.unwrap().events, []);
    let kept = reader.read(&reader.oldest().await.unwrap(), &[], 10).await.unwrap();
    assert_eq!(kept.events.iter().map(|event| (event.sequence, &*event.payload)).collect::<Vec<_>>(), [(3, &b"3"[..])]);

    // Also when nothing is left, numbers go on.
    assert_eq!(feed.database.trim_feed(START + DAY + DAY, 100).await.unwrap(), 1);
    append(&feed.database, &[("a", "4", START)]).await;
    let (events, _) = feed.wait_for(1).await;
    assert_eq!(events[0].sequence, 4);
}

async fn trimming_stops_at_the_first_younger_event(engine: TestEngine) {
    let feed = Feed::open(&engine).await;
    append(&feed.database, &[("a", "1", START), ("a", "2", START + DAY), ("a", "3", START)]).await;
    feed.wait_for(3).await;
    assert_eq!(feed.database.trim_feed(START + DAY, 100).await.unwrap(), 1);
    let (events, _) = feed.wait_for(2).await;
    assert_eq!(events.iter().map(|event| event.sequence).collect::<Vec<_>>(), [2, 3]);
}

async fn the_lag_is_told(engine: TestEngine) {
    let feed = Feed::open(&engine).await;
    append(&feed.database, &[("a", "1", START + DAY), ("a", "2", START), ("b", "3", START + DAY)]).await;
    let (_, end) = feed.wait_for(3).await;
    let reader = feed.reader();
    let start = reader.oldest().await.unwrap();
    assert_eq!(reader.lag(&end).await.unwrap(), Lag { events: 0, since: None });
    assert_eq!(reader.lag(&start).await.unwrap(), Lag { events: 3, since: Some(START + DAY) });
}

#[test]
fn what_is_no_position_is_refused() {
    for text in ["", "AAAA", "not base64 at all", &"A".repeat(194), &"A".repeat(1_000)] {
        assert!(Position::decode(text).is_err(), "{text}");
    }
}

/// Streams keep their partition for ever: a consumer's share of them is stored nowhere else.
#[test]
fn the_partition_of_a_stream_never_changes() {
    let partitions: Vec<u8> = ["", "a", "programs/tea/members/1", "茶"].into_iter().map(partition_of).collect();
    assert_eq!(partitions, [15, 7, 2, 10]);
}

struct Feed {
    database: Database,
}

impl Feed {
    async fn open(engine: &TestEngine) -> Feed {
        Feed { database: engine.open("points", &[]).await }
    }

    fn reader(&self) -> FeedReader {
        FeedReader::new(self.database.clone())
    }

    /// Everything that is kept, once there is so much of it.
    async fn wait_for(&self, count: usize) -> (Vec<FeedEvent>, Position) {
        let reader = self.reader();
        testkit::eventually(|| async {
            let page = reader.read(&reader.oldest().await.unwrap(), &[], 100_000).await.unwrap();
            if page.events.len() == count { Ok((page.events, page.position)) } else { Err(page.events.len()) }
        })
        .await
    }
}

fn new(stream: &str, payload: &str, at: Timestamp) -> NewEvent {
    NewEvent { id: Uuid::nil(), stream: stream.to_owned(), at, payload: payload.as_bytes().to_vec() }
}

async fn append(database: &Database, events: &[(&str, &str, Timestamp)]) {
    let mut tx = database.begin().await.unwrap();
    tx.append_events(events.iter().map(|(stream, payload, at)| new(stream, payload, *at)).collect()).await.unwrap();
    tx.commit().await.unwrap();
}
