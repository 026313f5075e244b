//! A map that is cheap to clone and to change a little, since the search keeps many worlds that are nearly the same.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

const BOARDS: u64 = 64;

#[derive(Clone)]
pub(super) struct Shelf<V>(Vec<Arc<BTreeMap<String, V>>>);

impl<V: Clone> Shelf<V> {
    pub(super) fn new() -> Shelf<V> {
        Shelf((0..BOARDS).map(|_| Arc::default()).collect())
    }

    pub(super) fn get(&self, key: &str) -> Option<&V> {
        self.0[board(key)].get(key)
    }

    pub(super) fn insert(&mut self, key: &str, value: V) {
        Arc::make_mut(&mut self.0[board(key)]).insert(key.to_owned(), value);
    }
}

fn board(key: &str) -> usize {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    usize::try_from(hasher.finish() % BOARDS).expect("there are few boards")
}
