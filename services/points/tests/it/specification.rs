//! What the ledger answers, one line per call: every reason that the contracts name has its line.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use prost::Message;
use proto::common::{Money, Role};
use proto::events::event::Payload;
use proto::events::{MemberChanged, MemberState};
use proto::points as pb;
use rpc::Programs;
use rpc::wire::timestamp;
use testkit::{START, TestEngine};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::requests::*;
use super::suite::*;

testkit::on_each_engine!(the_ledger_answers_as_specified);

/// Call and answer. Members are numbers, 0 is a stranger; purchases, reservations and requests have names; `as` names a request, so
/// that it can come again. An answer is the points that moved, or code, reason and metadata of the refusal; `again` is a replay.
/// Balances are spendable, pending, reserved and owed. The terms give a point for a yuan, spendable at once and for 30 days, and
/// let a return go into debt.
const SPECIFICATION: &str = "
    # Earning
    award 1 p1 100.00                         | 100
    award 1 p2 0.99                           | 0
    award 0 p3 100.00                         | 0
    award 1 lines a:2:40.00 b:1:10.50         | 50
    award 1 p4 100.00 EUR                     | INVALID_ARGUMENT CURRENCY_MISMATCH expected=CNY
    award 1 p4 100.00 at +1h                  | INVALID_ARGUMENT OCCUR_TIME_IN_FUTURE field=purchase.occur_time
    award 1 p4 100.00 at -31d                 | INVALID_ARGUMENT OCCUR_TIME_TOO_OLD field=purchase.occur_time
    award 1 p4 1.00 at -1d                    | 1
    award 1 p5 -1.00                          | INVALID_ARGUMENT purchase.net.minor_units
    preview 1 9.99                            | 9
    preview 1 9.99 EUR                        | INVALID_ARGUMENT CURRENCY_MISMATCH expected=CNY
    balance 1                                 | 151 0 0 0

    # The same purchase counts once, under any request
    award 1 p1 100.00                         | again 100
    award 1 p1 100.01                         | ALREADY_EXISTS PURCHASE_EXISTS field=purchase.net
    award 2 p1 100.00                         | ALREADY_EXISTS PURCHASE_EXISTS field=member
    award 1 p3 100.00                         | ALREADY_EXISTS PURCHASE_EXISTS field=member
    purchase p1                               | 100.00 left, 100 points
    purchase none                             | NOT_FOUND PURCHASE_NOT_FOUND

    # Spending
    redeem 1 51 as spend                      | -51
    redeem 1 101 as refused                   | FAILED_PRECONDITION INSUFFICIENT_POINTS missing_points=1
    redeem 1 up-to 30                         | -30
    redeem 1 up-to 1000                       | -70
    redeem 1 up-to 1000                       | FAILED_PRECONDITION INSUFFICIENT_POINTS missing_points=1000
    redeem 2 1                                | FAILED_PRECONDITION INSUFFICIENT_POINTS missing_points=1
    redeem 1 0                                | INVALID_ARGUMENT points
    redeem 1 1 stars                          | NOT_FOUND WALLET_NOT_FOUND
    balance 1                                 | 0 0 0 0
    balance 2                                 | 0 0 0 0

    # A request that comes again gets its first answer, and a refusal stands
    award 1 p6 500.00                         | 500
    redeem 1 51 as spend                      | again -51
    redeem 1 101 as refused                   | again FAILED_PRECONDITION INSUFFICIENT_POINTS missing_points=1
    redeem 1 52 as spend                      | ALREADY_EXISTS REQUEST_ID_REUSED field=points
    redeem 2 52 as spend                      | ALREADY_EXISTS REQUEST_ID_REUSED field=member
    redeem 1 5 as refused                     | ALREADY_EXISTS REQUEST_ID_REUSED field=points
    reserve 1 51 as spend                     | ALREADY_EXISTS REQUEST_ID_REUSED field=method
    operation spend                           | again -51
    operation refused                         | again FAILED_PRECONDITION INSUFFICIENT_POINTS missing_points=1
    operation never                           | NOT_FOUND OPERATION_NOT_FOUND
    balance 1                                 | 500 0 0 0

    # Holding
    reserve 1 100 as all                      | 0
    reserve 1 100 as part                     | 0
    reserve 1 100 as nothing                  | 0
    reserve 1 100 as given-up                 | 0
    reserve 1 101                             | FAILED_PRECONDITION INSUFFICIENT_POINTS missing_points=1
    reserve 1 1 stars                         | NOT_FOUND WALLET_NOT_FOUND
    reserve 1 100 for 60s as late             | 0
    balance 1                                 | 0 0 500 0
    capture part 101                          | FAILED_PRECONDITION EXCEEDS_RESERVATION held_points=100
    capture all as captured                   | -100
    capture part 30                           | -30
    capture nothing 0                         | 0
    release given-up                          | 0
    capture all as captured                   | again -100
    capture all                               | FAILED_PRECONDITION RESERVATION_CAPTURED
    release part                              | FAILED_PRECONDITION RESERVATION_CAPTURED
    capture given-up                          | FAILED_PRECONDITION RESERVATION_RELEASED
    release given-up                          | FAILED_PRECONDITION RESERVATION_RELEASED
    capture none                              | NOT_FOUND RESERVATION_NOT_FOUND
    release none                              | NOT_FOUND RESERVATION_NOT_FOUND
    balance 1                                 | 270 0 100 0
    wait 60s                                  |
    capture late                              | FAILED_PRECONDITION RESERVATION_EXPIRED
    release late                              | FAILED_PRECONDITION RESERVATION_EXPIRED
    balance 1                                 | 370 0 0 0

    # Goods go back
    return lines a:1                          | -20
    return lines a:2                          | FAILED_PRECONDITION EXCEEDS_PURCHASE left=1
    return lines c:1                          | FAILED_PRECONDITION LINE_NOT_FOUND line_id=c
    return lines to 10.50                     | -20
    return lines to 10.50                     | FAILED_PRECONDITION NOTHING_TO_RETURN
    return lines to 10.51                     | FAILED_PRECONDITION EXCEEDS_PURCHASE left=1050
    return lines to 0.00 EUR                  | INVALID_ARGUMENT CURRENCY_MISMATCH expected=CNY
    return lines to 0.00 at +1h               | INVALID_ARGUMENT OCCUR_TIME_IN_FUTURE field=occur_time
    return lines to 0.00 at -31d              | INVALID_ARGUMENT OCCUR_TIME_TOO_OLD field=occur_time
    return none to 0.00                       | NOT_FOUND PURCHASE_NOT_FOUND
    return p3 to 0.00                         | 0
    redeem 1 330                              | -330
    return p6 to 400.00                       | -100
    balance 1                                 | 0 0 0 100

    # By hand
    adjust 1 150                              | 150
    balance 1                                 | 50 0 0 0
    adjust 1 -50                              | -50
    adjust 1 -1                               | FAILED_PRECONDITION INSUFFICIENT_POINTS missing_points=1
    adjust 1 0                                | INVALID_ARGUMENT points
    adjust 1 1 stars                          | NOT_FOUND WALLET_NOT_FOUND

    # Rewards of other services
    reward 1 referral v2 grant                | v2 granted
    reward 1 referral v1 revoke               | v2 granted
    reward 2 referral v3 grant                | ALREADY_EXISTS REWARD_EXISTS field=member
    reward 1 referral v3 revoke               | v3 not granted
    reward 1 overtaken v2 revoke              | v2 not granted
    reward 1 overtaken v1 grant               | v2 not granted
    balance 1                                 | 0 0 0 0

    # The clock
    award 3 old 10.00                         | 10
    entries 3                                 | AWARD 10
    wait 30d                                  |
    balance 3                                 | 0 0 0 0
    redeem 3 1                                | FAILED_PRECONDITION INSUFFICIENT_POINTS missing_points=1
    settle                                    | settled
    entries 3                                 | AWARD 10, EXPIRE -10
    redeem 1 5 as refused                     | FAILED_PRECONDITION INSUFFICIENT_POINTS missing_points=5

    # Who may not
    award 4 p7 10.00                          | 10
    reserve 4 1 as under-way                  | 0
    reserve 4 1 as left-over                  | 0
    member 4 blocked                          |
    award 4 p8 10.00                          | FAILED_PRECONDITION MEMBER_BLOCKED
    preview 4 10.00                           | FAILED_PRECONDITION MEMBER_BLOCKED
    redeem 4 1                                | FAILED_PRECONDITION MEMBER_BLOCKED
    reserve 4 1                               | FAILED_PRECONDITION MEMBER_BLOCKED
    reward 4 blocked v1 grant                 | FAILED_PRECONDITION MEMBER_BLOCKED
    adjust 4 1                                | 1
    capture under-way                         | -1
    return p7 to 5.00                         | -5
    member 4 closed                           |
    award 4 p8 10.00                          | FAILED_PRECONDITION MEMBER_CLOSED
    redeem 4 1                                | FAILED_PRECONDITION MEMBER_CLOSED
    capture left-over                         | FAILED_PRECONDITION MEMBER_CLOSED
    release left-over                         | 0

    # Programs and terms
    award 1 p9 1.00 in cocoa                  | NOT_FOUND PROGRAM_NOT_FOUND program=programs/cocoa
    award 1 p9 1.00 in coffee                 | FAILED_PRECONDITION PROGRAM_VERSION_MISSING program=programs/coffee
    preview 1 1.00 in coffee                  | FAILED_PRECONDITION PROGRAM_VERSION_MISSING program=programs/coffee
    terms                                     | 1
    terms none                                | NOT_FOUND PROGRAM_VERSION_NOT_FOUND
    terms 1 at -60d                           | INVALID_ARGUMENT START_TIME_NOT_ASCENDING
    terms 1000000                             | 2
    award 1 huge 92233720368547758.07         | OUT_OF_RANGE AMOUNT_OUT_OF_RANGE
    award 1 huge 0.01                         | 10000
";

async fn the_ledger_answers_as_specified(engine: TestEngine) {
    let terms = pb::Terms { expire_after: days(30), ..terms() };
    let mut player = Player::start(Suite::with_feeds(engine, terms).await).await;
    let lines = SPECIFICATION.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut answered = BTreeSet::new();
    for line in lines {
        let (call, expected) = line.split_once('|').unwrap_or_else(|| panic!("a line without an answer: {line}"));
        let answer = player.play(call.trim()).await;
        assert_eq!(answer, expected.trim(), "{}", call.trim());
        answered.extend(answer.split(' ').map(str::to_owned));
    }
    player.suite.verified().await;
    let named = named_reasons();
    assert!(named.len() > 20, "the contracts name their reasons: {named:?}");
    let missing: Vec<_> = named.difference(&answered).collect();
    assert!(missing.is_empty(), "the contracts name these reasons, and no line has them: {missing:?}");
}

/// The reasons in the comments of the points contracts: words in capitals that are no code of gRPC.
fn named_reasons() -> BTreeSet<String> {
    let files = prost_types::FileDescriptorSet::decode(proto::FILE_DESCRIPTOR_SET).unwrap().file;
    let sources = files.into_iter().filter(|file| file.package() == "regulars.points.v1").filter_map(|file| file.source_code_info);
    let comments = sources.flat_map(|source| source.location).flat_map(|place| [place.leading_comments, place.trailing_comments]);
    let comments: Vec<String> = comments.flatten().collect();
    let words = comments.iter().flat_map(|text| text.split(|c: char| !(c.is_ascii_uppercase() || c == '_')));
    let codes: BTreeSet<String> = (0..17).map(|code| code_name(Code::from(code))).collect();
    words.filter(|word| word.len() > 5 && word.contains('_') && !codes.contains(*word)).map(str::to_owned).collect()
}

/// A code as gRPC writes it: `NOT_FOUND`.
fn code_name(code: Code) -> String {
    let name = format!("{code:?}");
    let parts =
        name.char_indices().map(|(index, c)| if index > 0 && c.is_uppercase() { format!("_{c}") } else { c.to_uppercase().to_string() });
    parts.collect()
}

/// Carries out lines of the specification.
struct Player {
    suite: Suite,
    wires: BTreeMap<Role, Wire>,
    /// The reservations by the names of the requests that made them.
    held: HashMap<String, String>,
    /// How often the state of a member was told.
    facts: i64,
}

/// The words of a call, with what stands at its end in any order taken off.
struct Words<'a> {
    words: Vec<&'a str>,
    request_id: String,
    program: String,
    currency: String,
    occurred: Option<prost_types::Timestamp>,
}

impl Player {
    async fn start(suite: Suite) -> Player {
        let mut wires = BTreeMap::new();
        for role in [Role::Platform, Role::Support, Role::Service, Role::Administrator] {
            wires.insert(role, suite.wire(role, Programs::All).await);
        }
        Player { suite, wires, held: HashMap::new(), facts: 0 }
    }

    /// The answer to a line in words. A new command is a new arm.
    async fn play(&mut self, line: &str) -> String {
        let words = self.words(line);
        let number = |index: usize| words.words[index].parse::<i64>().unwrap();
        let owner = || member_in(&words.program, words.words[1]);
        let platform = Role::Platform;
        match words.words[0] {
            "wait" => {
                self.suite.clock.advance(span(words.words[1]));
                String::new()
            }
            "member" => {
                self.facts += 1;
                let state = if words.words[2] == "blocked" { MemberState::Blocked } else { MemberState::Closed };
                let told = Payload::MemberChanged(MemberChanged { state: state.into(), ..MemberChanged::default() });
                self.suite.members_tell(words.words[1].parse().unwrap(), told, self.facts).await;
                String::new()
            }
            "award" => {
                let (net, lines) = match words.words[3].split_once(':') {
                    None => (fen(words.words[3]), Vec::new()),
                    Some(_) => {
                        let lines: Vec<_> = words.words[3..].iter().map(|line| bought(line)).collect();
                        (lines.iter().map(|line| line.net_minor_units).sum(), lines)
                    }
                };
                let purchase = pb::PurchaseInput { purchase_id: words.words[2].to_owned(), lines, ..words.purchase(net) };
                let request = pb::AwardRequest {
                    parent: words.program.clone(),
                    member: owner(),
                    purchase: Some(purchase),
                    historical: false,
                    request_id: words.request_id.clone(),
                };
                self.operation("Award", platform, &request, None).await
            }
            "preview" => {
                let purchase = pb::PurchaseInput { purchase_id: "any".to_owned(), ..words.purchase(fen(words.words[2])) };
                let request = pb::PreviewAwardRequest { parent: words.program.clone(), member: owner(), purchase: Some(purchase) };
                self.ask("PreviewAward", platform, &request, |preview: pb::AwardPreview| preview.points.to_string()).await
            }
            "redeem" => {
                let up_to = words.words[2] == "up-to";
                let mode = if up_to { pb::redeem_request::Mode::UpTo } else { pb::redeem_request::Mode::Unspecified };
                let at = 2 + usize::from(up_to);
                let (points, wallet) = (number(at), words.wallet(at + 1));
                let request_id = words.request_id.clone();
                let request = pb::RedeemRequest { member: owner(), points, mode: mode.into(), wallet, request_id, ..Default::default() };
                self.operation("Redeem", platform, &request, None).await
            }
            "reserve" => {
                let ttl = words.words.iter().position(|word| *word == "for").map(|index| span(words.words[index + 1]).try_into().unwrap());
                let wallet = if ttl.is_some() { String::new() } else { words.wallet(3) };
                let request_id = words.request_id.clone();
                let request = pb::ReserveRequest { member: owner(), points: number(2), wallet, ttl, request_id, ..Default::default() };
                self.operation("Reserve", platform, &request, Some(&words.request_id)).await
            }
            "capture" => {
                let points = words.words.get(2).map(|points| points.parse().unwrap());
                let request =
                    pb::CaptureRequest { points, request_id: words.request_id.clone(), ..capture(&self.reservation(words.words[1]), None) };
                self.operation("Capture", platform, &request, None).await
            }
            "release" => {
                let request = pb::ReleaseRequest { name: self.reservation(words.words[1]), request_id: words.request_id.clone() };
                self.operation("Release", platform, &request, None).await
            }
            "return" => {
                let what = if words.words[2] == "to" {
                    pb::return_purchase_request::What::RemainingNet(words.money(fen(words.words[3])))
                } else {
                    let (line, pieces) = words.words[2].split_once(':').unwrap();
                    let line = pb::ReturnLine { line_id: line.to_owned(), quantity: pieces.parse().unwrap() };
                    pb::return_purchase_request::What::Lines(pb::ReturnLines { lines: vec![line] })
                };
                let request = pb::ReturnPurchaseRequest {
                    purchase: purchase(words.words[1]),
                    what: Some(what),
                    occur_time: words.occurred,
                    request_id: words.request_id.clone(),
                    ..Default::default()
                };
                self.operation("ReturnPurchase", platform, &request, None).await
            }
            "adjust" => {
                let request = pb::AdjustRequest { wallet: words.wallet(3), request_id: words.request_id.clone(), ..adjust(0, number(2)) };
                self.operation("Adjust", Role::Support, &pb::AdjustRequest { member: owner(), ..request }, None).await
            }
            "reward" => {
                let (version, wanted) = (words.words[3].trim_start_matches('v').parse().unwrap(), words.words[4] == "grant");
                let request = pb::EnsureRewardRequest { member: owner(), ..ensure(0, words.words[2], 10, wanted, version) };
                let told =
                    |answer: pb::EnsureRewardResponse| format!("v{} {}granted", answer.version, if answer.granted { "" } else { "not " });
                self.ask("EnsureReward", Role::Service, &request, told).await
            }
            "settle" => self.ask("SettleDue", Role::Service, &settle(0), |_: pb::SettleDueResponse| "settled".to_owned()).await,
            "balance" => {
                let told = |balance: pb::Balance| {
                    let (active, pending, reserved, owed) = figures(&balance);
                    format!("{active} {pending} {reserved} {owed}")
                };
                self.ask("GetBalance", platform, &pb::GetBalanceRequest { member: owner(), ..Default::default() }, told).await
            }
            "entries" => {
                let told = |page: pb::ListEntriesResponse| story(&page.entries.into_iter().rev().collect::<Vec<_>>()).join(", ");
                self.ask("ListEntries", platform, &pb::ListEntriesRequest { parent: owner(), ..Default::default() }, told).await
            }
            "purchase" => {
                let told = |purchase: pb::Purchase| {
                    let left = purchase.remaining_net.unwrap().minor_units;
                    format!("{}.{:02} left, {} points", left / 100, left % 100, purchase.due_points)
                };
                self.ask("GetPurchase", platform, &pb::GetPurchaseRequest { name: purchase(words.words[1]) }, told).await
            }
            "operation" => {
                let request = pb::GetOperationRequest { parent: words.program.clone(), request_id: words.words[1].to_owned() };
                self.operation("GetOperation", platform, &request, None).await
            }
            "terms" => self.terms(&words).await,
            other => panic!("no such call: {other}"),
        }
    }

    /// `terms` tells how many versions there are, `terms none` asks for one that there is not, `terms 5` makes one of that rate.
    async fn terms(&self, words: &Words<'_>) -> String {
        let number = |version: pb::ProgramVersion| version.name.rsplit('/').next().unwrap().to_owned();
        match words.words.get(1) {
            None => {
                let request = pb::ListProgramVersionsRequest { parent: words.program.clone(), ..Default::default() };
                let told = |page: pb::ListProgramVersionsResponse| page.versions.len().to_string();
                self.ask("ListProgramVersions", Role::Platform, &request, told).await
            }
            Some(&"none") => {
                let request = pb::GetProgramVersionRequest { name: format!("{}/versions/99", words.program) };
                self.ask("GetProgramVersion", Role::Platform, &request, number).await
            }
            Some(rate) => {
                let terms = pb::Terms { points_per_unit: (*rate).to_owned(), ..terms() };
                let request = pb::CreateProgramVersionRequest { start_time: words.occurred, ..new_version(terms) };
                self.ask("CreateProgramVersion", Role::Administrator, &request, number).await
            }
        }
    }

    /// The name of a reservation, or of one that was never made.
    fn reservation(&self, name: &str) -> String {
        let never = || format!("{}/reservations/{}", member(1), uuid::Uuid::from_u128(9));
        self.held.get(name).cloned().unwrap_or_else(never)
    }

    /// Calls an RPC that answers with an operation; its reservation is kept under a name.
    async fn operation(&mut self, rpc: &str, role: Role, request: &impl Message, keep: Option<&str>) -> String {
        let mut made = None;
        let told = |operation: pb::Operation| {
            made = operation.reservation.map(|reservation| reservation.name);
            operation.actual_points.to_string()
        };
        let answer = self.ask(rpc, role, request, told).await;
        if let (Some(made), Some(name)) = (made, keep) {
            self.held.insert(name.to_owned(), made);
        }
        answer
    }

    async fn ask<M: Message + Default>(&self, rpc: &str, role: Role, request: &impl Message, tell: impl FnOnce(M) -> String) -> String {
        match raw(&self.wires[&role], rpc, request.encode_to_vec()).await {
            Ok(answer) => format!("{}{}", if replayed(&answer) { "again " } else { "" }, tell(M::decode(&answer.get_ref()[..]).unwrap())),
            Err(status) => told_refusal(&status),
        }
    }

    fn words<'a>(&self, line: &'a str) -> Words<'a> {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        let mut take = |name: &str| {
            let index = words.iter().position(|word| *word == name)?;
            words.remove(index);
            Some(words.remove(index))
        };
        let request_id = take("as").map_or_else(request_id, str::to_owned);
        let program = take("in").map_or_else(|| TEA.to_owned(), |program| format!("programs/{program}"));
        let occurred = take("at").map(|word| {
            let span = span(&word[1..]);
            timestamp(if word.starts_with('-') { START + self.suite.now().since(START) - span } else { self.suite.now() + span })
        });
        let foreign = words.last() == Some(&"EUR");
        words.truncate(words.len() - usize::from(foreign));
        Words { words, request_id, program, currency: if foreign { "EUR" } else { "CNY" }.to_owned(), occurred }
    }
}

impl Words<'_> {
    fn money(&self, minor_units: i64) -> Money {
        Money { currency_code: self.currency.clone(), minor_units }
    }

    fn purchase(&self, net: i64) -> pb::PurchaseInput {
        pb::PurchaseInput { net: Some(self.money(net)), occur_time: self.occurred, ..pb::PurchaseInput::default() }
    }

    fn wallet(&self, index: usize) -> String {
        self.words.get(index).map_or_else(String::new, |wallet| (*wallet).to_owned())
    }
}

fn member_in(program: &str, number: &str) -> String {
    member(number.parse().unwrap()).replace(TEA, program)
}

/// `12.34` is 1234.
fn fen(text: &str) -> i64 {
    text.replace('.', "").parse().unwrap()
}

/// `a:2:40.00` is two pieces of line a for 40 yuan together.
fn bought(text: &str) -> pb::PurchaseLine {
    let [line, pieces, net] = text.split(':').collect::<Vec<_>>()[..] else { panic!("no line: {text}") };
    pb::PurchaseLine { line_id: line.to_owned(), quantity: pieces.parse().unwrap(), net_minor_units: fen(net), ..Default::default() }
}

/// `60s`, `1h` or `30d`.
fn span(text: &str) -> Duration {
    let (count, unit) = text.split_at(text.len() - 1);
    let seconds = match unit {
        "s" => 1,
        "h" => 3_600,
        "d" => 86_400,
        other => panic!("no unit: {other}"),
    };
    Duration::from_secs(count.parse::<u64>().unwrap() * seconds)
}

/// Code, reason and metadata, or the fields that are wrong.
fn told_refusal(status: &Status) -> String {
    let mut words = vec![code_name(status.code())];
    if let Some(info) = status.get_details_error_info() {
        words.push(info.reason);
        words.extend(info.metadata.into_iter().collect::<BTreeMap<_, _>>().into_iter().map(|(key, value)| format!("{key}={value}")));
    }
    words.extend(status.get_details_bad_request().into_iter().flat_map(|wrong| wrong.field_violations).map(|wrong| wrong.field));
    if status.metadata().contains_key("regulars-replayed") {
        words.insert(0, "again".to_owned());
    }
    words.join(" ")
}
