//! What the suite holds after an import, read over gRPC.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::tz::TimeZone;
use proto::events::event::Payload;
use proto::events::event_feed_service_client::EventFeedServiceClient;
use proto::events::{MemberState, SubscribeRequest};
use proto::members::identity::Value;
use proto::members::members_service_client::MembersServiceClient;
use proto::members::{Identity, ListMembersRequest, LookupMemberRequest, Member};
use proto::points::points_service_client::PointsServiceClient;
use proto::points::{Balance, GetBalanceRequest, GetPurchaseRequest, Purchase};
use rpc::Peer;

use crate::log::Expected;
use crate::suite::{PROGRAM, TIME_ZONE};

const CALLS_MAX: usize = 32;
const PAGE_SIZE: i32 = 1000;
const PATIENCE: Duration = Duration::from_secs(300);

/// Everything that an import may have made.
#[derive(Debug, PartialEq)]
pub(crate) struct Books {
    /// Members by name, as the list of all members has them.
    pub(crate) members: BTreeMap<String, Member>,
    /// The member and the balance of each customer of the log.
    pub(crate) accounts: BTreeMap<String, (String, Balance)>,
    /// The purchases of the log.
    pub(crate) purchases: Vec<Purchase>,
}

impl Books {
    /// Reads all that there is.
    pub(crate) async fn read(peer: &Peer, expected: &Expected) -> Result<Books> {
        let accounts = stream::iter(expected.balances.keys().cloned())
            .map(|customer| account(peer, customer))
            .buffer_unordered(CALLS_MAX)
            .try_collect()
            .await?;
        let purchases = stream::iter(&expected.purchases).map(|id| purchase(peer, id)).buffered(CALLS_MAX).try_collect().await?;
        Ok(Books { members: members(peer).await?, accounts, purchases })
    }

    /// Entries of all accounts: the version of an account is the number of its last one.
    pub(crate) fn entries(&self) -> i64 {
        self.accounts.values().map(|(_, balance)| balance.version).sum()
    }

    /// Spendable points by customer.
    pub(crate) fn balances(&self) -> BTreeMap<String, i64> {
        let points = |balance: &Balance| balance.wallets.first().map_or(0, |wallet| wallet.active_points);
        self.accounts.iter().map(|(customer, (_, balance))| (customer.clone(), points(balance))).collect()
    }

    /// Points that are not simply spendable, which this program cannot make.
    pub(crate) fn other_points(&self) -> i64 {
        let wallets = self.accounts.values().flat_map(|(_, balance)| &balance.wallets);
        wallets.map(|wallet| wallet.pending_points + wallet.reserved_points + wallet.deficit_points).sum()
    }

    /// Points that the purchases deserve.
    pub(crate) fn due_points(&self) -> i64 {
        self.purchases.iter().map(|purchase| purchase.due_points).sum()
    }

    pub(crate) fn cents(&self) -> i64 {
        self.purchases.iter().filter_map(|purchase| purchase.net.as_ref()).map(|net| net.minor_units).sum()
    }

    pub(crate) fn purchases_of_zero(&self) -> u64 {
        self.purchases.iter().filter(|purchase| purchase.net.as_ref().is_some_and(|net| net.minor_units == 0)).count() as u64
    }

    /// Days on which a member bought, in the program's zone.
    pub(crate) fn member_days(&self) -> Result<u64> {
        let zone = TimeZone::get(TIME_ZONE)?;
        let mut days = BTreeSet::new();
        for purchase in &self.purchases {
            let time = purchase.occur_time.as_ref().context("a purchase has no time")?;
            let day = jiff::Timestamp::new(time.seconds, time.nanos)?.to_zoned(zone.clone()).date();
            days.insert((purchase.member.as_str(), day));
        }
        Ok(days.len() as u64)
    }

    pub(crate) fn active_members(&self) -> u64 {
        self.members.values().filter(|member| member.state() == MemberState::Active).count() as u64
    }
}

async fn members(peer: &Peer) -> Result<BTreeMap<String, Member>> {
    let mut client = MembersServiceClient::new(peer.clone());
    let mut members = BTreeMap::new();
    let mut page_token = String::new();
    loop {
        let request = ListMembersRequest { parent: program(), page_size: PAGE_SIZE, page_token, ..ListMembersRequest::default() };
        let page = client.list_members(request).await?.into_inner();
        for member in page.members {
            if let Some(twice) = members.insert(member.name.clone(), member) {
                bail!("{} is listed twice", twice.name);
            }
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(members);
        }
    }
}

async fn account(peer: &Peer, customer: String) -> Result<(String, (String, Balance))> {
    let identity = Identity { value: Some(Value::ExternalId(customer.clone())), region_code: String::new() };
    let lookup = LookupMemberRequest { parent: program(), identity: Some(identity) };
    let found = MembersServiceClient::new(peer.clone()).lookup_member(lookup).await;
    let member = found.with_context(|| format!("customer {customer}"))?.into_inner().name;
    let request = GetBalanceRequest { member: member.clone(), ..Default::default() };
    let mut balance = PointsServiceClient::new(peer.clone()).get_balance(request).await?.into_inner();
    // The moment of the question is no part of the books.
    balance.as_of_time = None;
    Ok((customer, (member, balance)))
}

async fn purchase(peer: &Peer, id: &str) -> Result<Purchase> {
    let request = GetPurchaseRequest { name: format!("{}/purchases/{id}", program()) };
    let found = PointsServiceClient::new(peer.clone()).get_purchase(request).await;
    Ok(found.with_context(|| format!("purchase {id}"))?.into_inner())
}

/// Follows the feed until it has told of so many purchases; how many it has told of.
pub(crate) async fn wait_for_purchases(peer: &Peer, wanted: u64) -> Result<u64> {
    let request = SubscribeRequest { source: "points".to_owned(), ..SubscribeRequest::default() };
    let mut answers = EventFeedServiceClient::new(peer.clone()).subscribe(request).await?.into_inner();
    let mut seen = 0;
    let counting = async {
        while let Some(answer) = answers.message().await? {
            seen += answer.events.iter().filter(|event| matches!(event.payload, Some(Payload::PurchaseRecorded(_)))).count() as u64;
            if seen >= wanted {
                return Ok(seen);
            }
        }
        bail!("the feed ended after {seen} purchases")
    };
    tokio::time::timeout(PATIENCE, counting).await.context("the import does not get on")?
}

fn program() -> String {
    format!("programs/{PROGRAM}")
}
