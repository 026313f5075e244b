//! What there is to say about terms before they hold.

use std::collections::HashMap;

use kernel::ProgramId;
use proto::points as pb;
use proto::points::validate_terms_request::What;
use proto::points::validate_terms_response::Finding;
use proto::points::validate_terms_response::finding::Severity;
use rpc::status;
use rpc::wire::moment;
use tonic::Status;

use super::Rpcs;
use super::parse::parse_program;
use super::programs::parse_version;
use crate::domain::{Remark, Terms, Version};
use crate::executor::Target;
use crate::history::{History, VersionRecord};
use crate::message;
use crate::program::Program;
use crate::store;

impl Rpcs {
    pub(super) async fn validate(&self, message: pb::ValidateTermsRequest) -> Result<pb::ValidateTermsResponse, Status> {
        let pb::ValidateTermsRequest { parent, what, start_time } = message;
        let program = self.program(&parse_program("parent", &parent)?).await?;
        let told_start = start_time.as_ref().map(|start| moment("start_time", start)).transpose()?;
        let history = self.programs.history(&program.id).await.map_err(status::from_store)?;
        let (now, start_at) = (self.now(), told_start.unwrap_or_else(|| self.now()));
        let mut findings = Vec::new();
        let terms = match what.ok_or_else(|| status::bad_request([("what", "one of terms and version must be set")]))? {
            What::Terms(terms) => {
                findings.extend(history.place(start_at).err().map(|refusal| error("start_time".to_owned(), refusal.to_string())));
                terms
            }
            What::Version(name) => {
                let (_, number) = parse_version("version", &name)?;
                let version = history.find(number).map_err(|refusal| refusal.status(&program.id))?;
                if version.scheduled.is_none() {
                    let refused = history.place_of(version, start_at, now).err();
                    findings.extend(refused.map(|refusal| error("start_time".to_owned(), refusal.to_string())));
                }
                version.terms.clone()
            }
        };
        findings.extend(
            message::wrong_terms(&terms, &program.zone).into_iter().map(|(field, what)| error(format!("terms.{field}"), what.into_owned())),
        );
        if let Some(version) = version(&program, 0, &terms, start_at) {
            let running = running(&program, &history, now);
            let mut remarks = version.remarks(running.as_ref());
            remarks.extend(self.missing(&program.id, &version.terms).await.map_err(status::from_store)?);
            findings.extend(remarks.into_iter().map(|Remark { field, text }| Finding {
                severity: Severity::Warning.into(),
                field: format!("terms.{field}"),
                description: text,
            }));
        }
        Ok(pb::ValidateTermsResponse { findings })
    }

    /// Stores and rewards that terms name and that are not there. They may still be made before the terms hold.
    async fn missing(&self, program: &ProgramId, terms: &Terms) -> Result<Vec<Remark>, persistence::Error> {
        let mut missing = Vec::new();
        let mut looked_up = HashMap::new();
        for (field, name) in terms.stores_named() {
            let store = name.rsplit('/').next().unwrap_or(name);
            let is_there = match looked_up.get(store) {
                Some(is_there) => *is_there,
                None => self.programs.has_store(program, store).await?,
            };
            looked_up.insert(store, is_there);
            if !is_there {
                missing.push(Remark { field, text: format!("there is no store {store} in the directory") });
            }
        }
        let mut tx = self.database.read().await?;
        for (field, reward) in terms.rewards_given() {
            let text = match store::catalogue_row(&mut tx, Target::catalogue(program, reward)).await? {
                None => format!("there is no reward {reward}"),
                Some(row) if row.retired_at.is_some() => format!("the reward {reward} is retired"),
                Some(_) => continue,
            };
            missing.push(Remark { field, text });
        }
        Ok(missing)
    }
}

fn error(field: String, description: String) -> Finding {
    Finding { severity: Severity::Error.into(), field, description }
}

/// `None` for terms that contradict themselves.
fn version(program: &Program, number: i64, terms: &pb::Terms, start_at: kernel::Timestamp) -> Option<Version> {
    let terms = message::terms(terms, &program.zone).ok()?.into();
    Some(Version { number, terms, start_at, zone: program.zone.clone(), currency: program.currency })
}

/// The version by which is judged what is bought now.
fn running(program: &Program, history: &History, now: kernel::Timestamp) -> Option<Version> {
    let VersionRecord { number, terms, scheduled, .. } = history.active(now)?;
    version(program, *number, terms, scheduled.as_ref()?.start_at)
}
