//! Setting schemes up.

use kernel::{ProgramId, Timestamp};
use persistence::{RequestKey, Tx, retry};
use prost::Message;
use proto::tiers as pb;
use rpc::Answer;
use rpc::wire::{Page, timestamp};
use tonic::Status;

use super::{Rpcs, program_of, scheme_of, stored};
use crate::convert;
use crate::domain::scheme::Scheme;
use crate::error::Error;
use crate::store;

impl Rpcs {
    pub(super) async fn create(&self, message: pb::CreateSchemeRequest) -> Result<Answer<pb::Scheme>, Status> {
        let program = program_of("parent", &message.parent)?;
        self.program(&program).await?;
        Ok(retry(|| self.try_create(&message, &program)).await?)
    }

    async fn try_create(&self, message: &pb::CreateSchemeRequest, program: &ProgramId) -> Result<Answer<pb::Scheme>, Error> {
        let key = RequestKey::new(&self.keyring, program, &message.request_id, message);
        let mut tx = self.database.begin().await?;
        if let Some(first) = tx.remembered(&key).await? {
            return Ok(Answer::replay(first.message(None)?));
        }
        let now = self.context.now();
        let wanted = pb::Scheme { version: 1, ..message.scheme.clone().unwrap_or_default() };
        let scheme = read(&wanted, now)?;
        let name = format!("{}/schemes/{}", program.name(), message.scheme_id);
        let answer = convert::answer(&wanted, &scheme, name, timestamp(now));
        store::insert_scheme(&mut tx, program, &message.scheme_id).await.map_err(taken)?;
        self.write_version(&mut tx, program, &message.scheme_id, &scheme, &answer).await?;
        tx.remember(&key, &answer.encode_to_vec(), None, None, now).await?;
        tx.commit().await?;
        Ok(Answer::first(answer))
    }

    pub(super) async fn update(&self, message: pb::UpdateSchemeRequest) -> Result<Answer<pb::Scheme>, Status> {
        let name = message.scheme.as_ref().map_or("", |scheme| &scheme.name);
        let (program, id) = scheme_of("scheme.name", name)?;
        Ok(retry(|| self.try_update(&message, &program, &id)).await?)
    }

    async fn try_update(&self, message: &pb::UpdateSchemeRequest, program: &ProgramId, id: &str) -> Result<Answer<pb::Scheme>, Error> {
        let key = RequestKey::new(&self.keyring, program, &message.request_id, message);
        let mut tx = self.database.begin().await?;
        if let Some(first) = tx.remembered(&key).await? {
            return Ok(Answer::replay(first.message(None)?));
        }
        let version = store::add_version(&mut tx, program, id).await?.ok_or(Error::SchemeNotFound)?;
        let change = message.scheme.clone().unwrap_or_default();
        if change.version != 0 && change.version + 1 != version {
            return Err(Error::SchemeChanged { version: version - 1 });
        }
        let versions = store::scheme_versions(&mut tx, program, id).await?;
        let (current, last) = stored(versions.last().ok_or(Error::SchemeNotFound)?)?;
        let paths = message.update_mask.as_ref().map_or(&[][..], |mask| &mask.paths);
        let updated = convert::update(&current, &change, paths).map_err(Error::Invalid)?;
        let wanted = pb::Scheme { version, ..updated };
        // Versions begin in their order, whatever the clocks of several servers show.
        let scheme = read(&wanted, self.context.now().max(last.start))?;
        let answer = convert::answer(&wanted, &scheme, current.name, current.create_time.unwrap_or_default());
        self.write_version(&mut tx, program, id, &scheme, &answer).await?;
        tx.remember(&key, &answer.encode_to_vec(), None, None, self.context.now()).await?;
        tx.commit().await?;
        Ok(Answer::first(answer))
    }

    /// Writes a version and has all members evaluated under it.
    async fn write_version(
        &self,
        tx: &mut Tx,
        program: &ProgramId,
        id: &str,
        scheme: &Scheme,
        answer: &pb::Scheme,
    ) -> Result<(), persistence::Error> {
        store::insert_version(tx, program, id, scheme.version, scheme.start, &answer.encode_to_vec()).await?;
        store::start_sweep(tx, program, id, scheme.version).await
    }

    pub(super) async fn scheme(&self, message: pb::GetSchemeRequest) -> Result<pb::Scheme, Error> {
        let pb::GetSchemeRequest { name, version } = message;
        let (program, id) = scheme_of("name", &name)?;
        let versions = store::scheme_versions(&mut self.database.read().await?, &program, &id).await?;
        let index = usize::try_from(version).ok().and_then(|version| version.checked_sub(1));
        let found = match index {
            None => versions.last(),
            Some(index) => versions.get(index),
        };
        Ok(stored(found.ok_or(Error::SchemeNotFound)?)?.0)
    }

    pub(super) async fn schemes(&self, message: pb::ListSchemesRequest) -> Result<pb::ListSchemesResponse, Status> {
        let pb::ListSchemesRequest { parent, page_size, page_token } = message;
        let program = program_of("parent", &parent)?;
        let filter = ["schemes", &parent];
        let page: Page<'_, 1> = Page::parse(&filter, page_size, &page_token)?;
        let after = page.after.as_ref().map_or("", |[after]| after.as_str());
        let mut tx = self.database.read().await.map_err(Error::from)?;
        let found = store::list_schemes(&mut tx, &program, after, page.limit()).await.map_err(Error::from)?;
        let schemes = found.iter().map(|bytes| Ok(stored(bytes)?.0)).collect::<Result<Vec<_>, Error>>()?;
        let id = |scheme: &pb::Scheme| scheme.name.rsplit('/').next().unwrap_or_default().to_owned();
        let (schemes, next_page_token) = page.cut(schemes, |scheme| [id(scheme)]);
        Ok(pb::ListSchemesResponse { schemes, next_page_token })
    }
}

/// Reads the scheme of a request; faults are told by their path in it.
fn read(message: &pb::Scheme, start: Timestamp) -> Result<Scheme, Error> {
    convert::scheme(message, start)
        .map_err(|faults| Error::Invalid(faults.into_iter().map(|(field, fault)| (format!("scheme.{field}"), fault)).collect()))
}

fn taken(error: persistence::Error) -> Error {
    match error {
        persistence::Error::Unique { .. } => Error::SchemeExists,
        other => Error::Database(other),
    }
}
