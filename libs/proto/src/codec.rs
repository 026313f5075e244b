//! The codec of every generated server and client. On a server it hands on a request only when it obeys its contract and
//! names nothing outside the caller's programs, so that no handler has to check either.

use std::marker::PhantomData;
use std::sync::Arc;

use prost::Message;
use tokio::task::futures::TaskLocalFuture;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder};
use tonic::{Code, Status};
use tonic_prost::ProstEncoder;
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use crate::check::{Check, Checked, Violation};

/// The programs that a caller may touch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Programs {
    /// Every program, also those to come.
    All,
    /// These ids, without `programs/` before them.
    Only(Arc<[String]>),
}

impl Programs {
    /// Whether the program of this id is among them.
    pub fn admit(&self, program: &str) -> bool {
        match self {
            Programs::All => true,
            Programs::Only(ids) => ids.iter().any(|id| id == program),
        }
    }
}

tokio::task_local! {
    static ADMITTED: Programs;
}

/// Serves a call for a caller who may touch these programs. The server's layer wraps the call of the inner service in it;
/// a request that is decoded outside is checked for its rules only.
pub fn admitting<F: Future>(programs: Programs, call: F) -> TaskLocalFuture<Programs, F> {
    ADMITTED.scope(programs, call)
}

/// Checks a message as the codec does: INVALID_ARGUMENT with a `BadRequest` tells every field that breaks a rule;
/// PERMISSION_DENIED, reason `PROGRAM_NOT_ADMITTED`, that a name lies in a program that is not among `programs`.
pub fn check(message: &impl Checked, programs: &Programs) -> Result<(), Status> {
    let check = Check::of(message);
    if !check.violations().is_empty() {
        return Err(bad_request(check.violations()));
    }
    match check.programs().iter().find(|program| !programs.admit(program)) {
        Some(program) => Err(not_admitted(program)),
        None => Ok(()),
    }
}

fn bad_request(violations: &[Violation]) -> Status {
    let text: Vec<String> = violations.iter().map(|v| format!("{}: {}", v.field, v.description)).take(3).collect();
    let more = violations.len() - text.len();
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    let details = violations.iter().map(|Violation { field, description, reason }| FieldViolation {
        reason: (*reason).to_owned(),
        ..FieldViolation::new(field, description)
    });
    let details = ErrorDetails::with_bad_request(details.collect::<Vec<_>>());
    Status::with_error_details(Code::InvalidArgument, text.join("; ") + &more, details)
}

fn not_admitted(program: &str) -> Status {
    let metadata = [("program".to_owned(), program.to_owned())];
    let details = ErrorDetails::with_error_info("PROGRAM_NOT_ADMITTED", "regulars", metadata);
    Status::with_error_details(Code::PermissionDenied, format!("the key may not touch program {program}"), details)
}

/// Encodes `T` and decodes `U` as protobuf; checks `U` when it is the input of an RPC.
#[derive(Clone, Debug)]
pub struct CheckedCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for CheckedCodec<T, U> {
    fn default() -> Self {
        CheckedCodec(PhantomData)
    }
}

impl<T, U> Codec for CheckedCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Checked + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = CheckedDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::default()
    }

    /// The decoder remembers the caller's programs, since a stream of requests may be read from another task.
    fn decoder(&mut self) -> Self::Decoder {
        let programs = ADMITTED.try_with(Programs::clone).unwrap_or(Programs::All);
        CheckedDecoder { programs, message: PhantomData }
    }
}

/// Decodes the messages of one call.
#[derive(Debug)]
pub struct CheckedDecoder<U> {
    programs: Programs,
    message: PhantomData<U>,
}

impl<U: Message + Default + Checked> Decoder for CheckedDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        let message = U::decode(buffer).map_err(malformed::<U>)?;
        if U::REQUEST {
            check(&message, &self.programs)?;
        }
        Ok(Some(message))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}

/// Bytes that are no protobuf are the caller's fault in a request and the server's in a response. The text of the error
/// names the field and never its value.
fn malformed<U: Checked>(error: prost::DecodeError) -> Status {
    let code = if U::REQUEST { Code::InvalidArgument } else { Code::Internal };
    Status::new(code, error.to_string())
}
