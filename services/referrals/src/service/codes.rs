//! Codes.

use kernel::{MemberId, ProgramId, Timestamp, name};
use persistence::{Purpose, RequestKey, Tx, retry};
use proto::referrals as pb;
use rpc::Answer;
use rpc::wire;
use tonic::{Request, Response, Status};

use super::{ReferralsRpcs, convert, first_answer, member, program};
use crate::domain::{Code, CodeState, CodeText, Plan, PlanId};
use crate::error::Error;
use crate::store;

/// What an advocate's new code is to be.
struct IssueCode {
    program: ProgramId,
    advocate: MemberId,
    plan: PlanId,
    display_label: String,
    use_limit: Option<i64>,
    expire_time: Option<Timestamp>,
}

impl ReferralsRpcs {
    pub(super) async fn issue_code(&self, request: Request<pb::IssueCodeRequest>) -> Result<Response<pb::Code>, Status> {
        let message = request.into_inner();
        let command = IssueCode::parse(&message)?;
        let key = RequestKey::new(&self.keyring, &command.program, &message.request_id, &message);
        let answer = retry(|| self.try_issue_code(&key, &command)).await?;
        Ok(answer.into_response())
    }

    pub(super) async fn get_code(&self, request: Request<pb::GetCodeRequest>) -> Result<Response<pb::Code>, Status> {
        let (program, text) = code_name(&request.get_ref().name)?;
        let code = self.read_code(&program, &text).await?.ok_or(Error::CodeNotFound)?;
        Ok(Response::new(convert::code(&code, self.context.now())))
    }

    pub(super) async fn resolve_code(&self, request: Request<pb::ResolveCodeRequest>) -> Result<Response<pb::ResolveCodeResponse>, Status> {
        let pb::ResolveCodeRequest { parent, code } = request.into_inner();
        let program = program("parent", &parent)?;
        let text = CodeText::parse(&code).ok_or(Error::CodeNotValid)?;
        let (code, plan) = self.read_offer(&program, &text).await?;
        Ok(Response::new(pb::ResolveCodeResponse {
            display_label: code.display_label,
            public_title: plan.public_title,
            public_text: plan.public_text,
        }))
    }

    pub(super) async fn revoke_code(&self, request: Request<pb::RevokeCodeRequest>) -> Result<Response<pb::Code>, Status> {
        let message = request.into_inner();
        let (program, text) = code_name(&message.name)?;
        let key = RequestKey::new(&self.keyring, &program, &message.request_id, &message);
        let answer = retry(|| self.try_revoke_code(&key, &program, &text)).await?;
        Ok(answer.into_response())
    }

    async fn try_issue_code(&self, request: &RequestKey, command: &IssueCode) -> Result<Answer<pb::Code>, Error> {
        let IssueCode { program, advocate, plan, display_label, use_limit, expire_time } = command;
        let now = self.context.now();
        let mut tx = self.database.begin().await?;
        if let Some(first) = first_code(&mut tx, request).await? {
            return Ok(first);
        }
        if store::newest_plan(&mut tx, program, plan).await?.is_none() {
            return Err(Error::PlanNotFound);
        }
        let code = match store::code_of(&mut tx, program, *advocate, plan).await? {
            Some(code) => code,
            None if expire_time.is_some_and(|expiry| expiry <= now) => return Err(Error::ExpiryPassed),
            None => {
                let code = Code {
                    program: program.clone(),
                    text: self.new_code_text(),
                    advocate: *advocate,
                    plan: plan.clone(),
                    display_label: display_label.clone(),
                    use_limit: *use_limit,
                    use_count: 0,
                    reward_count: 0,
                    expire_time: *expire_time,
                    create_time: now,
                    revoke_time: None,
                };
                // Another call has issued one meanwhile, or the text was drawn before: the next attempt finds it, or draws anew.
                if !store::insert_code(&mut tx, &code).await? {
                    return Err(persistence::Error::Conflict.into());
                }
                code
            }
        };
        let answer = convert::code(&code, now);
        self.remember_code(&mut tx, request, &answer).await?;
        tx.commit().await?;
        Ok(Answer::first(answer))
    }

    async fn try_revoke_code(&self, request: &RequestKey, program: &ProgramId, text: &CodeText) -> Result<Answer<pb::Code>, Error> {
        let now = self.context.now();
        let mut tx = self.database.begin().await?;
        if let Some(first) = first_code(&mut tx, request).await? {
            return Ok(first);
        }
        let code = store::locked_code(&mut tx, program, text).await?.ok_or(Error::CodeNotFound)?.revoked(now);
        store::update_code(&mut tx, &code).await?;
        let answer = convert::code(&code, now);
        self.remember_code(&mut tx, request, &answer).await?;
        tx.commit().await?;
        Ok(Answer::first(answer))
    }

    async fn read_code(&self, program: &ProgramId, text: &CodeText) -> Result<Option<Code>, Error> {
        let mut tx = self.database.read().await?;
        Ok(store::code(&mut tx, program, text).await?)
    }

    /// A good code and its plan. Whatever is wrong, it is told with the same words.
    async fn read_offer(&self, program: &ProgramId, text: &CodeText) -> Result<(Code, Plan), Error> {
        let mut tx = self.database.read().await?;
        let code = store::code(&mut tx, program, text).await?.ok_or(Error::CodeNotValid)?;
        let plan = store::newest_plan(&mut tx, program, &code.plan).await?.ok_or(Error::CodeNotValid)?;
        if code.state(self.context.now()) == CodeState::Active { Ok((code, plan)) } else { Err(Error::CodeNotValid) }
    }

    /// The next code. Ids are unique but their order can be guessed; the keyed hash cannot.
    fn new_code_text(&self) -> CodeText {
        let hash = self.keyring.hash(Purpose::Secret, "referral code", self.context.uuid().as_bytes());
        CodeText::from_random(*hash.first_chunk().expect("a hash has 32 bytes"))
    }

    /// Remembers an answer without the label, which is personal data and has to be erased in one place only.
    async fn remember_code(&self, tx: &mut Tx, request: &RequestKey, answer: &pb::Code) -> Result<(), persistence::Error> {
        self.remember(tx, request, &pb::Code { display_label: String::new(), ..answer.clone() }).await
    }
}

/// The code that a request was answered with when it came first, with its label, which never changes.
async fn first_code(tx: &mut Tx, request: &RequestKey) -> Result<Option<Answer<pb::Code>>, Error> {
    let Some(mut first) = first_answer::<pb::Code>(tx, request).await? else { return Ok(None) };
    if let Ok((program, text)) = code_name(&first.message.name)
        && let Some(code) = store::code(tx, &program, &text).await?
    {
        first.message.display_label = code.display_label;
    }
    Ok(Some(first))
}

impl IssueCode {
    fn parse(message: &pb::IssueCodeRequest) -> Result<IssueCode, Status> {
        let pb::IssueCodeRequest { advocate, plan, display_label, use_limit, expire_time, request_id: _ } = message;
        let (program, advocate) = member("advocate", advocate)?;
        // Of the same program: the codec refuses a request that names two.
        let (_, plan) = PlanId::from_name(plan).map_err(|_| Error::PlanNotFound)?;
        Ok(IssueCode {
            program,
            advocate,
            plan,
            display_label: display_label.clone(),
            use_limit: (*use_limit > 0).then(|| (*use_limit).into()),
            expire_time: expire_time.as_ref().map(|time| wire::moment("expire_time", time)).transpose()?,
        })
    }
}

/// Reads `programs/{program}/codes/{code}`, the code in any case. What cannot be a code does not exist.
fn code_name(text: &str) -> Result<(ProgramId, CodeText), Error> {
    let [program, code] = name::segments(text, "programs/{program}/codes/{code}").map_err(|_| Error::CodeNotFound)?;
    let program = ProgramId::parse(program).map_err(|_| Error::CodeNotFound)?;
    Ok((program, CodeText::parse(code).ok_or(Error::CodeNotFound)?))
}
