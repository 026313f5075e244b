//! Domain to protobuf.

use kernel::Zone;
use proto::codec::Programs;
use proto::directory as pb;

use super::domain::{ApiKey, Program, Store, Terminal};
use crate::wire::timestamp;

impl From<&Program> for pb::Program {
    fn from(program: &Program) -> Self {
        let Program { id, display_name, zone, currency, create_time } = program;
        pb::Program {
            name: id.name(),
            display_name: display_name.clone(),
            time_zone: zone.as_str().to_owned(),
            currency_code: currency.as_str().to_owned(),
            create_time: Some(timestamp(*create_time)),
        }
    }
}

impl From<&Store> for pb::Store {
    fn from(store: &Store) -> Self {
        let Store { program: _, id: _, display_name, zone, create_time } = store;
        pb::Store {
            name: store.name(),
            display_name: display_name.clone(),
            time_zone: zone.as_ref().map(Zone::as_str).unwrap_or_default().to_owned(),
            create_time: Some(timestamp(*create_time)),
        }
    }
}

impl From<&Terminal> for pb::Terminal {
    fn from(terminal: &Terminal) -> Self {
        let Terminal { program: _, store: _, id: _, display_name, create_time } = terminal;
        pb::Terminal { name: terminal.name(), display_name: display_name.clone(), create_time: Some(timestamp(*create_time)) }
    }
}

impl From<&ApiKey> for pb::ApiKey {
    fn from(key: &ApiKey) -> Self {
        let ApiKey { id: _, display_name, role, programs, terminal, secret_hash: _, create_time, revoke_time } = key;
        let programs = match programs {
            Programs::All => Vec::new(),
            Programs::Only(ids) => ids.iter().map(|id| format!("programs/{id}")).collect(),
        };
        pb::ApiKey {
            name: key.name(),
            display_name: display_name.clone(),
            role: i32::from(*role),
            programs,
            terminal: terminal.clone().unwrap_or_default(),
            create_time: Some(timestamp(*create_time)),
            revoke_time: revoke_time.map(timestamp),
        }
    }
}
