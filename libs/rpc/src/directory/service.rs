//! DirectoryService: protobuf in, protobuf out.

use std::sync::Arc;

use kernel::{Currency, ProgramId, Zone};
use persistence::{Keyring, RequestKey, retry};
use prost::Message;
use proto::codec::Programs;
use proto::common::Role;
use proto::directory as pb;
use proto::directory::directory_service_server::DirectoryService;
use tonic::{Code, Request, Response, Status};

use super::domain::{ApiKey, Error, NewApiKey, Program, Store, Terminal};
use super::{Directory, store};
use crate::auth::{Caller, CallerExt};
use crate::status::{self, Answer};
use crate::wire::Page;

/// The RPCs of the directory.
pub(crate) struct DirectoryRpcs {
    directory: Directory,
    keyring: Arc<Keyring>,
    /// API keys belong to no program; their requests are remembered under this name.
    of_no_program: ProgramId,
}

impl DirectoryRpcs {
    pub(crate) fn new(directory: Directory, keyring: Arc<Keyring>) -> DirectoryRpcs {
        let of_no_program = ProgramId::parse("directory").expect("it has the form of an id");
        DirectoryRpcs { directory, keyring, of_no_program }
    }
}

#[tonic::async_trait]
impl DirectoryService for DirectoryRpcs {
    async fn create_program(&self, request: Request<pb::CreateProgramRequest>) -> Result<Response<pb::Program>, Status> {
        let caller = request.caller();
        let message = request.into_inner();
        let program = self.new_program(&message, &caller)?;
        let answer = retry(|| self.try_create_program(&message, &program)).await?;
        self.see_own_change().await?;
        Ok(answer.into_response())
    }

    async fn get_program(&self, request: Request<pb::GetProgramRequest>) -> Result<Response<pb::Program>, Status> {
        let id = program_id("name", &request.get_ref().name)?;
        let program = self.directory.program(&id).await.map_err(Error::from)?.ok_or(Error::ProgramNotFound)?;
        Ok(Response::new(pb::Program::from(&*program)))
    }

    async fn list_programs(&self, request: Request<pb::ListProgramsRequest>) -> Result<Response<pb::ListProgramsResponse>, Status> {
        let caller = request.caller();
        let pb::ListProgramsRequest { page_size, page_token } = request.into_inner();
        let page: Page<'_, 1> = Page::parse(&["programs"], page_size, &page_token)?;
        let mut programs = self.directory.programs().await.map_err(Error::from)?;
        programs.retain(|program| {
            let is_after = page.after.as_ref().is_none_or(|[after]| program.id.as_str() > after.as_str());
            is_after && caller.programs.admit(program.id.as_str())
        });
        let (programs, next_page_token) = page.cut(programs, |program| [program.id.to_string()]);
        let programs = programs.iter().map(|program| pb::Program::from(&**program)).collect();
        Ok(Response::new(pb::ListProgramsResponse { programs, next_page_token }))
    }

    async fn create_store(&self, request: Request<pb::CreateStoreRequest>) -> Result<Response<pb::Store>, Status> {
        let message = request.into_inner();
        let store = self.new_store(&message)?;
        let answer = retry(|| self.try_create_store(&message, &store)).await?;
        Ok(answer.into_response())
    }

    async fn list_stores(&self, request: Request<pb::ListStoresRequest>) -> Result<Response<pb::ListStoresResponse>, Status> {
        let pb::ListStoresRequest { parent, page_size, page_token } = request.into_inner();
        let program = program_id("parent", &parent)?;
        let filter = ["stores", &parent];
        let page: Page<'_, 1> = Page::parse(&filter, page_size, &page_token)?;
        let after = page.after.as_ref().map_or("", |[after]| after.as_str());
        let mut tx = self.directory.database().read().await.map_err(Error::from)?;
        let stores = store::stores(&mut tx, &program, after, page.limit()).await.map_err(Error::from)?;
        let (stores, next_page_token) = page.cut(stores, |store| [store.id.clone()]);
        let stores = stores.iter().map(pb::Store::from).collect();
        Ok(Response::new(pb::ListStoresResponse { stores, next_page_token }))
    }

    async fn create_terminal(&self, request: Request<pb::CreateTerminalRequest>) -> Result<Response<pb::Terminal>, Status> {
        let message = request.into_inner();
        let terminal = self.new_terminal(&message)?;
        let answer = retry(|| self.try_create_terminal(&message, &terminal)).await?;
        Ok(answer.into_response())
    }

    async fn list_terminals(&self, request: Request<pb::ListTerminalsRequest>) -> Result<Response<pb::ListTerminalsResponse>, Status> {
        let pb::ListTerminalsRequest { parent, page_size, page_token } = request.into_inner();
        let (program, store) = program_and_store(&parent)?;
        let filter = ["terminals", &parent];
        let page: Page<'_, 1> = Page::parse(&filter, page_size, &page_token)?;
        let after = page.after.as_ref().map_or("", |[after]| after.as_str());
        let mut tx = self.directory.database().read().await.map_err(Error::from)?;
        let terminals = store::terminals(&mut tx, &program, &store, after, page.limit()).await.map_err(Error::from)?;
        let (terminals, next_page_token) = page.cut(terminals, |terminal| [terminal.id.clone()]);
        let terminals = terminals.iter().map(pb::Terminal::from).collect();
        Ok(Response::new(pb::ListTerminalsResponse { terminals, next_page_token }))
    }

    async fn create_api_key(&self, request: Request<pb::CreateApiKeyRequest>) -> Result<Response<pb::CreateApiKeyResponse>, Status> {
        let caller = request.caller();
        let message = request.into_inner();
        let new = new_api_key(&message, &caller)?;
        let answer = retry(|| self.try_create_api_key(&message, &new)).await?;
        self.see_own_change().await?;
        Ok(answer.into_response())
    }

    async fn list_api_keys(&self, request: Request<pb::ListApiKeysRequest>) -> Result<Response<pb::ListApiKeysResponse>, Status> {
        let caller = request.caller();
        let pb::ListApiKeysRequest { page_size, page_token } = request.into_inner();
        let page: Page<'_, 1> = Page::parse(&["apiKeys"], page_size, &page_token)?;
        let mut keys = self.directory.api_keys().await.map_err(Error::from)?;
        keys.retain(|key| {
            let is_after = page.after.as_ref().is_none_or(|[after]| key.id > *after);
            is_after && key.is_within(&caller.programs)
        });
        let (keys, next_page_token) = page.cut(keys, |key| [key.id.clone()]);
        let api_keys = keys.iter().map(|key| pb::ApiKey::from(&**key)).collect();
        Ok(Response::new(pb::ListApiKeysResponse { api_keys, next_page_token }))
    }

    async fn revoke_api_key(&self, request: Request<pb::RevokeApiKeyRequest>) -> Result<Response<pb::ApiKey>, Status> {
        let caller = request.caller();
        let message = request.into_inner();
        let answer = retry(|| self.try_revoke_api_key(&message, &caller)).await?;
        self.see_own_change().await?;
        Ok(answer.into_response())
    }
}

/// Attempts: each is one transaction and runs again, from the start, when a concurrent write won. Taking the revision comes
/// first: its lock lets the same request sent twice at once find its own first answer instead of "exists already".
impl DirectoryRpcs {
    async fn try_create_program(&self, message: &pb::CreateProgramRequest, program: &Program) -> Result<Answer<pb::Program>, Error> {
        let key = RequestKey::new(&self.keyring, &program.id, &message.request_id, message);
        let mut tx = self.directory.database().begin().await?;
        let revision = store::next_revision(&mut tx).await?;
        if let Some(first) = tx.remembered(&key).await? {
            return Ok(Answer::replay(first.message(None)?));
        }
        store::insert_program(&mut tx, program, revision).await.map_err(taken(Error::ProgramExists))?;
        self.directory.append_change(&mut tx, Some(&program.id), &program.id.name(), revision).await?;
        let answer = pb::Program::from(program);
        tx.remember(&key, &answer.encode_to_vec(), None, None, self.directory.context().now()).await?;
        tx.commit().await?;
        Ok(Answer::first(answer))
    }

    async fn try_create_store(&self, message: &pb::CreateStoreRequest, new: &Store) -> Result<Answer<pb::Store>, Error> {
        let key = RequestKey::new(&self.keyring, &new.program, &message.request_id, message);
        let mut tx = self.directory.database().begin().await?;
        let revision = store::next_revision(&mut tx).await?;
        if let Some(first) = tx.remembered(&key).await? {
            return Ok(Answer::replay(first.message(None)?));
        }
        if !store::program_exists(&mut tx, new.program.as_str()).await? {
            return Err(Error::ProgramNotFound);
        }
        store::insert_store(&mut tx, new).await.map_err(taken(Error::StoreExists))?;
        self.directory.append_change(&mut tx, Some(&new.program), &new.name(), revision).await?;
        let answer = pb::Store::from(new);
        tx.remember(&key, &answer.encode_to_vec(), None, None, self.directory.context().now()).await?;
        tx.commit().await?;
        Ok(Answer::first(answer))
    }

    async fn try_create_terminal(&self, message: &pb::CreateTerminalRequest, new: &Terminal) -> Result<Answer<pb::Terminal>, Error> {
        let key = RequestKey::new(&self.keyring, &new.program, &message.request_id, message);
        let mut tx = self.directory.database().begin().await?;
        let revision = store::next_revision(&mut tx).await?;
        if let Some(first) = tx.remembered(&key).await? {
            return Ok(Answer::replay(first.message(None)?));
        }
        if !store::store_exists(&mut tx, &new.program, &new.store).await? {
            return Err(Error::StoreNotFound);
        }
        store::insert_terminal(&mut tx, new).await.map_err(taken(Error::TerminalExists))?;
        self.directory.append_change(&mut tx, Some(&new.program), &new.name(), revision).await?;
        let answer = pb::Terminal::from(new);
        tx.remember(&key, &answer.encode_to_vec(), None, None, self.directory.context().now()).await?;
        tx.commit().await?;
        Ok(Answer::first(answer))
    }

    /// What is remembered has no secret: a replay cannot give it away, and neither can the database.
    async fn try_create_api_key(
        &self,
        message: &pb::CreateApiKeyRequest,
        new: &NewApiKey,
    ) -> Result<Answer<pb::CreateApiKeyResponse>, Error> {
        let key = RequestKey::new(&self.keyring, &self.of_no_program, &message.request_id, message);
        let mut tx = self.directory.database().begin().await?;
        let revision = store::next_revision(&mut tx).await?;
        if let Some(first) = tx.remembered(&key).await? {
            return Ok(Answer::replay(first.message(None)?));
        }
        let (made, secret) = self.directory.write_api_key(&mut tx, new, revision).await?;
        let without_secret = pb::CreateApiKeyResponse { api_key: Some(pb::ApiKey::from(&made)), secret: String::new() };
        tx.remember(&key, &without_secret.encode_to_vec(), None, None, self.directory.context().now()).await?;
        tx.commit().await?;
        Ok(Answer::first(pb::CreateApiKeyResponse { secret: secret.reveal(), ..without_secret }))
    }

    /// A key that gives more than the caller has does not exist for the caller.
    async fn try_revoke_api_key(&self, message: &pb::RevokeApiKeyRequest, caller: &Caller) -> Result<Answer<pb::ApiKey>, Error> {
        let key = RequestKey::new(&self.keyring, &self.of_no_program, &message.request_id, message);
        let id = message.name.strip_prefix("apiKeys/").ok_or(Error::ApiKeyNotFound)?;
        let mut tx = self.directory.database().begin().await?;
        let revision = store::next_revision(&mut tx).await?;
        let found = store::api_key(&mut tx, id).await?.filter(|found: &ApiKey| found.is_within(&caller.programs));
        if found.is_none() {
            return Err(Error::ApiKeyNotFound);
        }
        if let Some(first) = tx.remembered(&key).await? {
            return Ok(Answer::replay(first.message(None)?));
        }
        let revoked = self.directory.write_revocation(&mut tx, id, revision).await?.ok_or(Error::ApiKeyNotFound)?;
        let answer = pb::ApiKey::from(&revoked);
        tx.remember(&key, &answer.encode_to_vec(), None, None, self.directory.context().now()).await?;
        tx.commit().await?;
        Ok(Answer::first(answer))
    }

    /// The next call on this process knows of the change.
    async fn see_own_change(&self) -> Result<(), Status> {
        self.directory.refresh().await.map_err(status::from_store)
    }
}

/// Parsing: what a contract cannot say about a field is said here.
impl DirectoryRpcs {
    fn new_program(&self, message: &pb::CreateProgramRequest, caller: &Caller) -> Result<Program, Error> {
        let pb::CreateProgramRequest { program_id, display_name, time_zone, currency_code, request_id: _ } = message;
        if !caller.programs.admit(program_id) {
            return Err(Error::BeyondCaller);
        }
        Ok(Program {
            id: ProgramId::parse(program_id).map_err(|_| Error::invalid("program_id", "must be a program id"))?,
            display_name: display_name.clone(),
            zone: zone(time_zone)?,
            currency: Currency::parse(currency_code)
                .map_err(|_| Error::invalid("currency_code", "must be an active ISO 4217 code of a currency with a minor unit"))?,
            create_time: self.directory.context().now(),
        })
    }

    fn new_store(&self, message: &pb::CreateStoreRequest) -> Result<Store, Error> {
        let pb::CreateStoreRequest { parent, store_id, display_name, time_zone, request_id: _ } = message;
        Ok(Store {
            program: program_id("parent", parent)?,
            id: store_id.clone(),
            display_name: display_name.clone(),
            zone: if time_zone.is_empty() { None } else { Some(zone(time_zone)?) },
            create_time: self.directory.context().now(),
        })
    }

    fn new_terminal(&self, message: &pb::CreateTerminalRequest) -> Result<Terminal, Error> {
        let pb::CreateTerminalRequest { parent, terminal_id, display_name, request_id: _ } = message;
        let (program, store) = program_and_store(parent)?;
        Ok(Terminal {
            program,
            store,
            id: terminal_id.clone(),
            display_name: display_name.clone(),
            create_time: self.directory.context().now(),
        })
    }
}

/// A key limited to programs can only make keys limited to those: the codec has checked each name, so the one way out is to
/// name none.
fn new_api_key(message: &pb::CreateApiKeyRequest, caller: &Caller) -> Result<NewApiKey, Error> {
    let pb::CreateApiKeyRequest { display_name, role, programs, terminal, request_id: _ } = message;
    let role = Role::try_from(*role).map_err(|_| Error::invalid("role", "must be a role"))?;
    let ids = programs.iter().map(|name| Ok(program_id("programs", name)?.to_string())).collect::<Result<Vec<_>, Error>>()?;
    let new = NewApiKey {
        display_name: display_name.clone(),
        role,
        programs: if ids.is_empty() { Programs::All } else { Programs::Only(ids.into()) },
        terminal: (!terminal.is_empty()).then(|| terminal.clone()),
    };
    let new = new.checked()?;
    match (&caller.programs, &new.programs) {
        (Programs::Only(_), Programs::All) => Err(Error::BeyondCaller),
        _ => Ok(new),
    }
}

fn program_id(field: &'static str, name: &str) -> Result<ProgramId, Error> {
    kernel::name::program(name).map_err(|error| Error::invalid(field, error.pattern))
}

fn program_and_store(parent: &str) -> Result<(ProgramId, String), Error> {
    const PATTERN: &str = "programs/{program}/stores/{store}";
    let malformed = |_| Error::invalid("parent", PATTERN);
    let [program, store] = kernel::name::segments(parent, PATTERN).map_err(malformed)?;
    Ok((ProgramId::parse(program).map_err(malformed)?, store.to_owned()))
}

fn zone(name: &str) -> Result<Zone, Error> {
    Zone::parse(name).map_err(|_| Error::invalid("time_zone", "must be an IANA time zone, for example Asia/Shanghai"))
}

/// A unique key that is taken has a name in the contract.
fn taken(exists: Error) -> impl FnOnce(persistence::Error) -> Error {
    |error| match error {
        persistence::Error::Unique { .. } => exists,
        other => Error::Database(other),
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Status {
        let message = error.to_string();
        let (code, reason) = match error {
            Error::Invalid { field, problem } => return status::bad_request([(field, problem)]),
            Error::ProgramExists => (Code::AlreadyExists, "PROGRAM_EXISTS"),
            Error::ProgramNotFound => (Code::NotFound, "PROGRAM_NOT_FOUND"),
            Error::StoreExists => (Code::AlreadyExists, "STORE_EXISTS"),
            Error::StoreNotFound => (Code::NotFound, "STORE_NOT_FOUND"),
            Error::TerminalExists => (Code::AlreadyExists, "TERMINAL_EXISTS"),
            Error::TerminalNotFound => (Code::NotFound, "TERMINAL_NOT_FOUND"),
            Error::ApiKeyNotFound => (Code::NotFound, "API_KEY_NOT_FOUND"),
            Error::BeyondCaller => (Code::PermissionDenied, "PROGRAM_NOT_ADMITTED"),
            Error::Database(cause) => return status::from_store(cause),
        };
        status::with_reason::<&str, &str>(code, reason, message, [])
    }
}
