//! Who calls, and whether this RPC is for them. The only place that asks either question.

use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use proto::codec::Programs;
use proto::common::Role;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::{Code, Request, Status};

use crate::directory::{ApiKey, Directory, KeySecret};
use crate::status;

/// Who calls. In the extensions of every request that reaches a handler.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Id of the API key; `internal` for a service in the same process.
    pub key_id: String,
    /// What the caller is.
    pub role: Role,
    /// The programs it may touch. Names in requests have been checked already; lists must filter by it.
    pub programs: Programs,
    /// The terminal that the key belongs to, `programs/{program}/stores/{store}/terminals/{terminal}`.
    pub terminal: Option<String>,
    /// The store of that terminal, `programs/{program}/stores/{store}`.
    pub store: Option<String>,
}

impl Caller {
    /// What entries and audit rows name: `apiKeys/{id}`.
    pub fn actor(&self) -> String {
        format!("apiKeys/{}", self.key_id)
    }
}

impl From<&ApiKey> for Caller {
    fn from(key: &ApiKey) -> Self {
        Caller {
            key_id: key.id.clone(),
            role: key.role,
            programs: key.programs.clone(),
            terminal: key.terminal.clone(),
            store: key.terminal.as_deref().and_then(|name| name.split_once("/terminals/")).map(|(store, _)| store.to_owned()),
        }
    }
}

/// Reads the caller of a request.
pub trait CallerExt {
    /// Who calls. Every request that reaches a handler of this suite has a caller.
    fn caller(&self) -> Caller;
}

impl<T> CallerExt for Request<T> {
    fn caller(&self) -> Caller {
        self.extensions().get::<Caller>().expect("the authentication layer stands before every handler").clone()
    }
}

/// Adds an API key to every call of a client.
#[derive(Clone)]
pub struct Credential(MetadataValue<Ascii>);

impl Credential {
    /// A credential of an API key's secret, `rk_…`. Fails on text that cannot stand in a header.
    pub fn new(secret: &str) -> Result<Credential, InvalidCredential> {
        let mut value: MetadataValue<Ascii> = format!("Bearer {secret}").parse().map_err(|_| InvalidCredential)?;
        value.set_sensitive(true);
        Ok(Credential(value))
    }
}

/// The text is no API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an API key: it begins with rk_ and holds printable characters only")]
pub struct InvalidCredential;

impl Interceptor for Credential {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        telemetry::grpc::inject(request.metadata_mut());
        Ok(request)
    }
}

/// Lets calls in, or not. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Gate {
    directory: Directory,
    internal: Arc<ApiKey>,
    reflection: bool,
    /// Full names of the gRPC services of this process.
    served: Arc<[&'static str]>,
}

/// What the gate found.
pub(crate) enum Admission {
    /// Nobody is asked for a credential here.
    Open,
    /// A caller whose role is admitted.
    Caller(Caller),
}

/// Id of the key that services of one process use among themselves. It exists in memory only.
const INTERNAL_KEY: &str = "internal";

impl Gate {
    /// A gate and the credential of services in this process.
    pub(crate) fn new(directory: Directory, reflection: bool) -> (Gate, Credential) {
        let secret = KeySecret::random(INTERNAL_KEY);
        let internal = ApiKey::internal(INTERNAL_KEY, secret.hash());
        let credential = Credential::new(&secret.reveal()).expect("hexadecimal digits can stand in a header");
        (Gate { directory, internal: Arc::new(internal), reflection, served: Arc::default() }, credential)
    }

    /// The gate of a process that serves these gRPC services.
    pub(crate) fn serving(self, names: &[&'static str]) -> Gate {
        Gate { served: names.into(), ..self }
    }

    /// Decides about a call by its path (`/package.Service/Method`) and its `authorization` header.
    pub(crate) async fn admit(&self, path: &str, headers: &HeaderMap) -> Result<Admission, Status> {
        if self.is_open(path) {
            return Ok(Admission::Open);
        }
        let key = self.authenticate(headers).await?;
        // A path that no contract knows has no roles; the routes answer it with UNIMPLEMENTED.
        let Some(rpc) = proto::access::rpc(path) else { return Ok(Admission::Caller(Caller::from(&*key))) };
        if !rpc.roles.contains(&key.role) {
            return Err(status::with_reason(
                Code::PermissionDenied,
                "ROLE_NOT_ADMITTED",
                "the role of this API key may not call this method",
                [("role", key.role.as_str_name().trim_start_matches("ROLE_")), ("method", path.trim_start_matches('/'))],
            ));
        }
        if !self.served.contains(&rpc.service) {
            let message = format!("this process does not serve {}", rpc.service);
            return Err(status::with_reason(Code::Unimplemented, "SERVICE_NOT_SERVED", message, [("service", rpc.service)]));
        }
        Ok(Admission::Caller(Caller::from(&*key)))
    }

    fn is_open(&self, path: &str) -> bool {
        path.starts_with("/grpc.health.v1.Health/") || (self.reflection && path.starts_with("/grpc.reflection."))
    }

    /// A wrong secret and an id that does not exist are answered alike, after the same work.
    async fn authenticate(&self, headers: &HeaderMap) -> Result<Arc<ApiKey>, Status> {
        let header = headers.get(AUTHORIZATION).ok_or_else(missing)?;
        let token = header.to_str().ok().and_then(bearer).ok_or_else(missing)?;
        let secret = KeySecret::parse(token).ok_or_else(invalid)?;
        let key = if secret.key_id() == INTERNAL_KEY {
            Some(self.internal.clone())
        } else {
            self.directory.api_key(secret.key_id()).await.map_err(status::from_store)?
        };
        let expected = key.as_ref().map_or(blake3::Hash::from_bytes([0; 32]), |key| key.secret_hash);
        // `blake3::Hash` compares in constant time.
        match key {
            Some(key) if expected == secret.hash() => match key.revoke_time {
                None => Ok(key),
                Some(_) => Err(revoked()),
            },
            _ => Err(invalid()),
        }
    }
}

/// Whether a caller that was let in may go on: a call that lasts asks again and again. It costs a look into memory.
pub(crate) async fn still_admitted(directory: &Directory, caller: &Caller) -> Result<(), Status> {
    // The key of this process is in no directory and ends with the process.
    if caller.key_id == INTERNAL_KEY {
        return Ok(());
    }
    match directory.api_key(&caller.key_id).await.map_err(status::from_store)? {
        Some(key) if key.revoke_time.is_none() => Ok(()),
        _ => Err(revoked()),
    }
}

/// The token of `Bearer <token>`; the scheme's case does not matter.
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn missing() -> Status {
    unauthenticated("CREDENTIAL_MISSING", "send an API key as \"authorization: Bearer rk_…\"")
}

fn invalid() -> Status {
    unauthenticated("CREDENTIAL_INVALID", "this is not an API key of this suite")
}

fn revoked() -> Status {
    unauthenticated("CREDENTIAL_REVOKED", "this API key has been revoked")
}

fn unauthenticated(reason: &'static str, message: &str) -> Status {
    status::with_reason::<&str, &str>(Code::Unauthenticated, reason, message, [])
}

#[cfg(test)]
mod tests {
    use kernel::Context;

    use super::*;
    use crate::config::Config;
    use crate::host::database_options;

    /// A call moves this future several times on its way. When it held the statements that read the directory, a call had fifteen
    /// kilobytes to allocate and to copy.
    #[tokio::test]
    async fn admitting_a_call_takes_little_room() {
        let folder = tempfile::TempDir::new().unwrap();
        let options = database_options(&Config::default_in(folder.path()));
        let directory = Directory::open(&options, Context::system()).await.unwrap();
        let (gate, _) = Gate::new(directory, false);
        let headers = HeaderMap::new();
        let bytes = size_of_val(&gate.admit("/regulars.points.v1.PointsService/Award", &headers));
        assert!(bytes < 1_500, "{bytes} bytes");
    }
}
