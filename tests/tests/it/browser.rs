//! The landing page as a browser runs it: gRPC-Web over HTTP/1.1 with CORS, written by hand since that is what arrives.

use std::collections::HashMap;

use prost::Message;
use proto::access::RPCS;
use proto::feedback::{Response, SubmitResponseRequest, invitation::State, submit_response_request};
use proto::referrals::{ResolveCodeRequest, ResolveCodeResponse};
use rpc::Role;
use testkit::TestEngine;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::diary::Diary;
use super::suite::{PAGE, Suite, TEA};
use super::tea::DAY;

testkit::on_each_engine!(a_landing_page_shows_a_code_and_takes_an_answer, a_browser_may_call_what_is_for_it_from_its_own_page);

const RESOLVE: &str = "/regulars.referrals.v1.ReferralsService/ResolveCode";
const SUBMIT: &str = "/regulars.feedback.v1.FeedbackService/SubmitResponse";

async fn a_landing_page_shows_a_code_and_takes_an_answer(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut diary = Diary::default();
    suite.sets_terms(&mut diary).await;
    suite.sets_plan(&mut diary).await;
    suite.sets_survey(&mut diary).await;
    let member = suite.enrols(&mut diary, "+8613800138001", "").await.name;
    let code = suite.issues_code(&mut diary, &member).await.code;
    suite.buys(&mut diary, &member, "p1", 3000).await;
    suite.invitations_reach(State::Scheduled, 1).await;
    suite.clock.advance(3 * DAY);
    let due = suite.invitations_reach(State::Due, 1).await;
    let token = suite.issues_token(&mut diary, &due[0]).await;

    let page = suite.posts(RESOLVE, &ResolveCodeRequest { parent: TEA.to_owned(), code }).await;
    assert_eq!((&*page.grpc_status(), page.header("access-control-allow-origin")), ("0", PAGE));
    assert_eq!(page.message::<ResolveCodeResponse>().display_label, "Your friend Li");
    let wrong = suite.posts(RESOLVE, &ResolveCodeRequest { parent: TEA.to_owned(), code: "WRONG".to_owned() }).await;
    assert_eq!(wrong.grpc_status(), "5", "NOT_FOUND");
    assert!(wrong.header("access-control-expose-headers").contains("grpc-status-details-bin"));

    let answer = SubmitResponseRequest {
        parent: TEA.to_owned(),
        target: Some(submit_response_request::Target::Token(token)),
        score: Some(9),
        comment: "Good tea.".to_owned(),
        request_id: suite.request_id(),
    };
    let first = suite.posts(SUBMIT, &answer).await;
    assert_eq!((&*first.grpc_status(), first.message::<Response>().score), ("0", 9));
    let again = suite.posts(SUBMIT, &answer).await;
    assert_eq!(again.message::<Response>(), first.message::<Response>());
    assert_eq!((first.headers.get("regulars-replayed"), again.header("regulars-replayed")), (None, "true"));
    suite.invitations_reach(State::Answered, 1).await;
    suite.stop().await;
}

async fn a_browser_may_call_what_is_for_it_from_its_own_page(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut called = Vec::new();
    for rpc in RPCS.iter().filter(|rpc| rpc.roles.contains(&Role::LandingPage)) {
        let allowed = suite.asks_leave(rpc.path, PAGE).await;
        assert_eq!((allowed.status, allowed.header("access-control-allow-origin")), (200, PAGE), "{}", rpc.path);
        for header in ["authorization", "content-type", "x-grpc-web"] {
            assert!(allowed.header("access-control-allow-headers").contains(header), "{} admits {header}", rpc.path);
        }
        let elsewhere = suite.asks_leave(rpc.path, "https://evil.example").await;
        assert_eq!(elsewhere.headers.get("access-control-allow-origin"), None, "{}", rpc.path);
        // An empty message is refused with a status that the page can read.
        let refused = suite.post(rpc.path, &[]).await;
        assert_eq!((refused.status, &*refused.grpc_status()), (200, "3"), "{}: INVALID_ARGUMENT", rpc.path);
        called.push(rpc.method);
    }
    assert_eq!(called, ["GetProgram", "SubmitResponse", "UpdateResponse", "ResolveCode", "GetScheme"]);
    let list = "/regulars.members.v1.MembersService/ListMembers";
    assert_eq!(suite.post(list, &[]).await.grpc_status(), "7", "PERMISSION_DENIED for what is not for pages");
    suite.stop().await;
}

/// What came back.
struct Answer {
    status: u16,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("{name} is not among {:?}", self.headers))
    }

    /// The status: in the headers when there is no message, else in the last frame.
    fn grpc_status(&self) -> String {
        let trailers = self.frame(0x80).map(|trailers| String::from_utf8(trailers.to_vec()).unwrap()).unwrap_or_default();
        let trailer = trailers.lines().find_map(|line| Some(line.strip_prefix("grpc-status:")?.trim().to_owned()));
        trailer.unwrap_or_else(|| self.header("grpc-status").to_owned())
    }

    fn message<M: Message + Default>(&self) -> M {
        M::decode(self.frame(0).expect("there is a message")).unwrap()
    }

    /// The content of the frame with these flags: one byte of them and four of length stand before each.
    fn frame(&self, flags: u8) -> Option<&[u8]> {
        let mut rest = &self.body[..];
        while let Some((head, tail)) = rest.split_at_checked(5) {
            let length = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize;
            let (content, after) = tail.split_at(length);
            if head[0] == flags {
                return Some(content);
            }
            rest = after;
        }
        None
    }
}

impl Suite {
    async fn posts(&self, path: &str, message: &impl Message) -> Answer {
        self.post(path, &message.encode_to_vec()).await
    }

    /// Posts a message as a page does, with the page's key.
    async fn post(&self, path: &str, message: &[u8]) -> Answer {
        let mut body = vec![0];
        body.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        body.extend(message);
        let (key, length) = (self.secret(Role::LandingPage), body.len());
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: tea.example\r\nconnection: close\r\ncontent-type: application/grpc-web+proto\r\n\
             x-grpc-web: 1\r\nauthorization: Bearer {key}\r\norigin: {PAGE}\r\ncontent-length: {length}\r\n\r\n"
        );
        self.exchange(path, head, &body).await
    }

    /// The question that a browser asks before it lets a page of `origin` call.
    async fn asks_leave(&self, path: &str, origin: &str) -> Answer {
        let head = format!(
            "OPTIONS {path} HTTP/1.1\r\nhost: tea.example\r\nconnection: close\r\norigin: {origin}\r\n\
             access-control-request-method: POST\r\naccess-control-request-headers: authorization,content-type,x-grpc-web\r\n\r\n"
        );
        self.exchange(path, head, &[]).await
    }

    async fn exchange(&self, path: &str, head: String, body: &[u8]) -> Answer {
        let service = path.trim_start_matches("/regulars.").split('.').next().unwrap();
        let mut socket = TcpStream::connect(self.address(service)).await.unwrap();
        socket.write_all(head.as_bytes()).await.unwrap();
        socket.write_all(body).await.unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await.unwrap();
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("the head ends");
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok()).expect("it has a status");
        let headers: HashMap<String, String> =
            lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        let body = answer.split_off(end + 4);
        let chunked = headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked");
        Answer { status, headers, body: if chunked { joined(&body) } else { body } }
    }
}

/// The chunks of a body, put together: each has its length in hexadecimal digits on a line before it.
fn joined(mut body: &[u8]) -> Vec<u8> {
    let mut joined = Vec::new();
    loop {
        let line = body.windows(2).position(|window| window == b"\r\n").expect("a chunk has a length");
        let length = usize::from_str_radix(std::str::from_utf8(&body[..line]).unwrap(), 16).unwrap();
        if length == 0 {
            return joined;
        }
        joined.extend(&body[line + 2..line + 2 + length]);
        body = &body[line + 2 + length + 2..];
    }
}
