//! Personal data is where it was told to be and nowhere else: not on a feed, in a log, in an error, or readable in a database.

use prost::Message;
use proto::access::rpc;
use proto::feedback::invitation::State;
use proto::feedback::{SubmitResponseRequest, submit_response_request};
use proto::members::{
    Account, Attribute, BirthDate, EnrollMemberRequest, GetMemberRequest, Identity, LinkIdentityRequest, LookupMemberRequest, Member,
    RevealMemberRequest, UnlinkIdentityRequest, UpdateMemberRequest, attribute, identity,
};
use proto::referrals::IssueCodeRequest;
use rpc::Role;
use sqlx::AssertSqlSafe;
use testkit::TestEngine;
use tonic::Status;

use super::diary::Diary;
use super::leaks::{holds, lines_with, searchable, watch};
use super::raw;
use super::suite::{SOURCES, Suite, TEA};
use super::tea::{DAY, PLAN};

testkit::on_each_engine!(personal_data_goes_nowhere);

/// Parts of what a member tells, as they must be found nowhere.
const MARKERS: [&str; 9] =
    ["3987654321", "qz.marker", "qzname", "qzexternal", "qzcard", "qzaccount", "qzattribute", "qzcomment", "qzreason"];
/// What whoever holds a code may read; stored as it is, but no word for logs and feeds.
const LABEL: &str = "qzlabel";
/// Told in the clear: finding it shows that the search finds.
const CONTROL: &str = "qzcontrol";

async fn personal_data_goes_nowhere(engine: TestEngine) {
    MARKERS.iter().chain([&LABEL, &CONTROL]).for_each(|word| watch(word));
    let suite = Suite::start(engine).await;
    suite.secrets().map(secret_part).for_each(watch);
    let mut diary = Diary::default();
    suite.sets_terms(&mut diary).await;
    suite.sets_plan(&mut diary).await;
    suite.sets_survey(&mut diary).await;
    let member = suite.tells_everything(&mut diary).await;
    let token = suite.comments(&mut diary, &member).await;
    watch(&token);
    diary.comes_again().await;
    let errors = suite.provokes_errors(&member).await;

    let stored: Vec<&str> = MARKERS.into_iter().chain([&*token]).chain(suite.secrets().map(secret_part)).collect();
    let told: Vec<&str> = stored.iter().copied().chain([LABEL]).collect();
    // An error may name the member who has an identity, by an id that tells nothing; that it does shows that errors are searched.
    let id = member.rsplit('/').next().unwrap();
    assert!(errors.iter().any(|error| holds(&searchable(error.details()), id)));
    for error in &errors {
        let text = searchable(format!("{error:?} {}", String::from_utf8_lossy(error.details())).as_bytes());
        assert!(!told.iter().any(|word| holds(&text, word)), "an error tells: {text}");
    }
    let mut found_control = false;
    for source in SOURCES {
        for event in suite.feed(source).await {
            let bytes = searchable(&event.encode_to_vec());
            assert!(!told.iter().any(|word| holds(&bytes, word)), "{source} tells: {event:?}");
            found_control |= holds(&bytes, CONTROL);
        }
    }
    assert!(found_control, "the channel is on a feed");
    tracing::debug!("{CONTROL}");
    assert!(!lines_with(CONTROL).is_empty(), "what is logged is searched");
    for word in &told {
        assert_eq!(lines_with(word), Vec::<String>::new(), "{word} is logged");
    }
    let stored: Vec<String> = stored.into_iter().map(str::to_owned).collect();
    let engine = suite.stop().await;
    let contents = contents(&engine).await;
    assert!(contents.iter().any(|(_, content)| holds(content, CONTROL)), "the channel is in a database");
    for (place, content) in &contents {
        for word in &stored {
            assert!(!holds(content, word), "{word} can be read in {place}");
        }
    }
}

/// The part of a key that is not its public id.
fn secret_part(secret: &str) -> &str {
    secret.rsplit('_').next().unwrap()
}

impl Suite {
    /// A member with everything that a member can have; support looks at it, the member changes it.
    async fn tells_everything(&self, diary: &mut Diary) -> String {
        let identities = vec![
            identity::Value::Phone("+8613987654321".to_owned()),
            identity::Value::Email("Qz.Marker@tea.example".to_owned()),
            identity::Value::ExternalId("QZEXTERNAL-1".to_owned()),
            identity::Value::Card("QZCARD-0001".to_owned()),
            identity::Value::Account(Account { namespace: "wechat_openid".to_owned(), id: "QZACCOUNT-1".to_owned() }),
        ];
        let enrolment = EnrollMemberRequest {
            display_name: "Qzname Wang".to_owned(),
            birth_date: Some(BirthDate { year: 1987, month: 6, day: 5 }),
            attributes: vec![fact("favourite", "qzattribute one")],
            channel: CONTROL.to_owned(),
            ..self.enrolment(identities, "")
        };
        let platform = self.members(Role::Platform);
        let member = diary.does(platform.clone(), enrolment, |mut members, request| async move { members.enroll_member(request).await });
        let member = member.await.name;
        let update = UpdateMemberRequest {
            member: Some(Member {
                name: member.clone(),
                display_name: "Qzname Li".to_owned(),
                attributes: vec![fact("favourite", "qzattribute two")],
                ..Member::default()
            }),
            update_mask: Some(prost_types::FieldMask { paths: vec!["display_name".to_owned(), "attributes".to_owned()] }),
            request_id: self.request_id(),
        };
        diary.does(platform, update, |mut members, request| async move { members.update_member(request).await }).await;
        let reveal = RevealMemberRequest { name: member.clone(), read_mask: None, reason: "qzreason: the member asked".to_owned() };
        let shown = self.members(Role::Support).reveal_member(reveal).await.unwrap().into_inner();
        assert_eq!((&*shown.phone, &*shown.email), ("+8613987654321", "qz.marker@tea.example"));
        assert_eq!(shown.attributes, [fact("favourite", "qzattribute two")]);
        let masked = self.members(Role::Terminal).get_member(GetMemberRequest { name: member.clone() }).await.unwrap().into_inner();
        let shown = searchable(&masked.encode_to_vec());
        assert!(!MARKERS.iter().any(|word| holds(&shown, word)), "{masked:?}");
        let code = IssueCodeRequest {
            advocate: member.clone(),
            plan: PLAN.to_owned(),
            display_label: "Qzlabel".to_owned(),
            request_id: self.request_id(),
            ..IssueCodeRequest::default()
        };
        diary.does(self.referrals(Role::Support), code, |mut referrals, request| async move { referrals.issue_code(request).await }).await;
        member
    }

    /// The member buys, is asked, and says what it thinks. The token of the link.
    async fn comments(&self, diary: &mut Diary, member: &str) -> String {
        self.buys(diary, member, "p1", 3000).await;
        self.invitations_reach(State::Scheduled, 1).await;
        self.clock.advance(3 * DAY);
        let due = self.invitations_reach(State::Due, 1).await;
        let token = self.issues_token(diary, &due[0]).await;
        let response = self.response(&token, "Qzcomment: the tea was cold.");
        let page = self.feedback(Role::LandingPage);
        diary.does(page, response, |mut feedback, request| async move { feedback.submit_response(request).await }).await;
        token
    }

    fn response(&self, token: &str, comment: &str) -> SubmitResponseRequest {
        SubmitResponseRequest {
            parent: TEA.to_owned(),
            target: Some(submit_response_request::Target::Token(token.to_owned())),
            score: Some(3),
            comment: comment.to_owned(),
            request_id: self.request_id(),
        }
    }

    /// Mistakes that people make with personal data at hand.
    async fn provokes_errors(&self, member: &str) -> Vec<Status> {
        let mut members = self.members(Role::Platform);
        let mut errors = Vec::new();
        let known = [
            identity::Value::Phone("+8613987654321".to_owned()),
            identity::Value::Email("qz.marker@tea.example".to_owned()),
            identity::Value::Account(Account { namespace: "wechat_openid".to_owned(), id: "QZACCOUNT-1".to_owned() }),
        ];
        for value in known {
            errors.push(members.enroll_member(self.enrolment(vec![value], "")).await.unwrap_err());
        }
        let bad = [
            identity::Value::Phone("+86139876543210000".to_owned()),
            identity::Value::Phone("3987654321 qzname".to_owned()),
            identity::Value::Email("qz.marker@@tea".to_owned()),
            identity::Value::Card(format!("qzcard{}", "0".repeat(200))),
            identity::Value::Account(Account { namespace: "Qzaccount".to_owned(), id: "qzaccount".to_owned() }),
        ];
        for value in bad {
            let identity = Some(Identity { value: Some(value.clone()), region_code: String::new() });
            errors.push(members.enroll_member(self.enrolment(vec![value], "")).await.unwrap_err());
            let lookup = LookupMemberRequest { parent: TEA.to_owned(), identity: identity.clone() };
            errors.push(members.lookup_member(lookup).await.unwrap_err());
            let link = LinkIdentityRequest { name: member.to_owned(), identity, replace: true, request_id: self.request_id() };
            errors.push(members.link_identity(link).await.unwrap_err());
        }
        let unknown = Some(Identity { value: Some(identity::Value::Card("qzcard-other".to_owned())), region_code: String::new() });
        let lookup = LookupMemberRequest { parent: TEA.to_owned(), identity: unknown.clone() };
        errors.push(members.lookup_member(lookup).await.unwrap_err());
        let unlink = UnlinkIdentityRequest { name: member.to_owned(), identity: unknown, request_id: self.request_id() };
        errors.push(members.unlink_identity(unlink).await.unwrap_err());
        // The same request id for somebody with another name.
        let first = self.enrolment(vec![identity::Value::Card("qzcard-2".to_owned())], "");
        members.enroll_member(first.clone()).await.unwrap();
        errors.push(members.enroll_member(EnrollMemberRequest { display_name: "qzname".to_owned(), ..first }).await.unwrap_err());
        let long = EnrollMemberRequest { display_name: "qzname".repeat(20), ..self.enrolment(Vec::new(), "") };
        errors.push(members.enroll_member(long).await.unwrap_err());
        let nobodys = self.response("qzcomment-token", &"qzcomment".repeat(500));
        errors.push(self.feedback(Role::LandingPage).submit_response(nobodys).await.unwrap_err());
        let nobodys = self.response("qzcomment-token", "qzcomment");
        errors.push(self.feedback(Role::LandingPage).submit_response(nobodys).await.unwrap_err());
        // Cut off in the middle of a phone number.
        let mut cut = self.enrolment(vec![identity::Value::Phone("+8613987654321".to_owned())], "").encode_to_vec();
        cut.truncate(24);
        let enrol = rpc("/regulars.members.v1.MembersService/EnrollMember").unwrap();
        errors.push(raw::call(&self.channel("members"), enrol, Some(self.secret(Role::Platform)), cut).await.unwrap_err());
        errors
    }
}

fn fact(key: &str, text: &str) -> Attribute {
    Attribute { key: key.to_owned(), value: Some(attribute::Value::Text(text.to_owned())) }
}

/// All that the databases hold: the bytes of every file, or the text of every row.
async fn contents(engine: &TestEngine) -> Vec<(String, String)> {
    match engine.options.url.strip_prefix("sqlite:") {
        Some(folder) => files(folder),
        None => rows(&engine.options.url).await,
    }
}

fn files(folder: &str) -> Vec<(String, String)> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = files.map(|path| (path.display().to_string(), searchable(&std::fs::read(path).unwrap()))).collect();
    assert!(files.len() >= SOURCES.len(), "{folder} has a file of each service");
    files
}

async fn rows(url: &str) -> Vec<(String, String)> {
    let pool = sqlx::PgPool::connect(url).await.unwrap();
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT format('%I.%I', table_schema, table_name) FROM information_schema.tables
          WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert!(tables.len() > SOURCES.len(), "each service has tables");
    let mut contents = Vec::new();
    for table in tables {
        let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!("SELECT t::text FROM {table} t"))).fetch_all(&pool).await.unwrap();
        contents.push((table, searchable(rows.join("\n").as_bytes())));
    }
    pool.close().await;
    contents
}
