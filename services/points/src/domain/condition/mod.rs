//! Conditions of promotions in CEL, the Common Expression Language.
//!
//! A text is parsed by the crate `cel`, checked against the few types that a condition knows, and kept as a tree of our own that is worked out
//! on what the ledger has at hand. So a bad one is found when it is written, and a good one costs an award little and can do no harm.

mod check;
mod tree;

use std::fmt;
use std::sync::Arc;
use std::thread;

use self::tree::{Node, Run};
use super::Occasion;

/// The longest text, in characters.
const LENGTH_MAX: usize = 1_000;
/// Brackets that a text may open. The parser goes down the stack with each.
const BRACKETS_MAX: usize = 64;
/// The parser takes some fifty kilobytes of stack for a bracket in a debug build, and stacks of servers have two megabytes.
const STACK_BYTES: usize = 16 << 20;
/// How deep an expression may be nested, which bounds the stack that an award takes.
const DEPTH_MAX: usize = 48;
/// How many comprehensions may stand in each other.
const NESTED_MAX: usize = 2;
/// Parts of an expression that may be worked out for a purchase: a tenth of a millisecond, or all pairs of some fifty lines.
const STEPS_MAX: usize = 20_000;

/// An expression that is true or false of a purchase.
#[derive(Clone)]
pub struct Condition {
    text: Arc<str>,
    root: Arc<Node>,
}

/// Where a text is no condition, and why.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line}, column {column}: {what}")]
pub struct ConditionError {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub what: String,
}

/// What keeps a condition from being worked out for a purchase.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConditionFault {
    /// A division by zero, or a number too great.
    Arithmetic,
    /// It takes too long.
    TooLong,
    /// Types that do not fit, which the check should have found.
    Mismatch,
}

impl Condition {
    /// Reads a condition; whatever is read can be asked of any purchase.
    pub fn parse(text: &str) -> Result<Condition, ConditionError> {
        let refused = |what: &str| ConditionError { line: 1, column: 1, what: what.to_owned() };
        if text.chars().count() > LENGTH_MAX {
            return Err(refused("is too long"));
        }
        if text.matches(['(', '[', '{']).count() > BRACKETS_MAX {
            return Err(refused("has too many brackets"));
        }
        let root = thread::scope(|scope| {
            let parsing = thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, || check::root(text));
            // A fault of the parser ends its thread only.
            parsing.map_err(|_| refused("cannot be read now"))?.join().unwrap_or_else(|_| Err(refused("cannot be read")))
        })?;
        Ok(Condition { text: text.into(), root: Arc::new(root) })
    }

    /// Whether it is true.
    pub(super) fn holds(&self, occasion: &Occasion<'_>) -> Result<bool, ConditionFault> {
        Run::new(occasion).truth(&self.root)
    }
}

impl PartialEq for Condition {
    fn eq(&self, other: &Condition) -> bool {
        self.text == other.text
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}
