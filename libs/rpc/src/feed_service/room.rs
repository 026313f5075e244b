//! How many subscriptions may be open: each looks at the database a few times a second.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proto::common::Role;
use tonic::{Code, Status};

use super::HEARTBEAT;
use crate::auth::Caller;
use crate::status;

const OPEN_MAX: usize = 512;
const OPEN_OF_ONE_KEY_MAX: usize = 64;

/// Open subscriptions by key id.
type Open = Arc<Mutex<BTreeMap<String, usize>>>;

/// Room for callers outside. Services are not counted: their number is the operator's, and nobody may shut them out.
#[derive(Default)]
pub(super) struct Room(Open);

/// A place in the room until it is dropped.
pub(super) struct Seat {
    open: Open,
    key_id: String,
}

impl Room {
    /// A place for a caller; `None` for a service, which needs none.
    pub(super) fn enter(&self, caller: &Caller) -> Result<Option<Seat>, Status> {
        if caller.role == Role::Service {
            return Ok(None);
        }
        let mut open = lock(&self.0);
        if open.get(&caller.key_id).is_some_and(|count| *count >= OPEN_OF_ONE_KEY_MAX) {
            return Err(status::with_reason(
                Code::ResourceExhausted,
                "TOO_MANY_SUBSCRIPTIONS",
                format!("this API key has {OPEN_OF_ONE_KEY_MAX} subscriptions open, as many as one may have"),
                [("subscriptions_max", OPEN_OF_ONE_KEY_MAX.to_string())],
            ));
        }
        if open.values().sum::<usize>() >= OPEN_MAX {
            telemetry::metrics().refused_by_overload("subscriptions");
            return Err(status::overloaded("the server has as many subscriptions as it admits", HEARTBEAT));
        }
        *open.entry(caller.key_id.clone()).or_default() += 1;
        Ok(Some(Seat { open: self.0.clone(), key_id: caller.key_id.clone() }))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        if let Some(count) = open.get_mut(&self.key_id) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.key_id);
            }
        }
    }
}

fn lock(open: &Open) -> MutexGuard<'_, BTreeMap<String, usize>> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use proto::codec::Programs;

    use super::*;

    fn caller(role: Role, key_id: &str) -> Caller {
        Caller { key_id: key_id.to_owned(), role, programs: Programs::All, terminal: None, store: None }
    }

    #[test]
    fn callers_outside_fill_the_room_and_services_still_come_in() {
        let room = Room::default();
        let mut seats: Vec<_> =
            (0..OPEN_MAX).map(|at| room.enter(&caller(Role::Platform, &format!("k{}", at / OPEN_OF_ONE_KEY_MAX))).unwrap()).collect();
        let late = caller(Role::Platform, "late");
        assert_eq!(room.enter(&late).err().unwrap().code(), Code::ResourceExhausted);
        assert!(room.enter(&caller(Role::Service, "internal")).unwrap().is_none());
        seats.pop();
        assert!(room.enter(&late).unwrap().is_some());
        drop(seats);
        assert!(lock(&room.0).is_empty());
    }
}
