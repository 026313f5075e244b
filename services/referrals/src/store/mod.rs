//! The statements. One function is one statement; what a missing row means is the caller's to say.

mod codes;
mod friends;
mod plans;
mod referrals;

pub(crate) use codes::{code, code_of, insert_code, locked_code, return_reward, take_reward, update_code};
pub(crate) use friends::{locked_friend, update_friend};
pub(crate) use plans::{insert_plan, newest_plan, plan, plans_after};
pub(crate) use referrals::{Filter, binding_referral, due_friends, insert_referral, referral, referrals_before, update_referral};

use kernel::{Currency, ProgramId};
use persistence::Error;

use crate::domain::{CodeText, PlanId};

/// A text column that has one of a few values, and the values.
struct Words<T: 'static>(&'static str, &'static [(T, &'static str)]);

impl<T: Copy + PartialEq> Words<T> {
    fn write(&self, value: T) -> &'static str {
        self.1.iter().find(|(known, _)| *known == value).map(|(_, word)| *word).expect("every value has its word")
    }

    fn read(&self, word: &str) -> Result<T, Error> {
        self.1.iter().find(|(_, known)| *known == word).map(|(value, _)| *value).ok_or_else(|| corrupt(self.0))
    }
}

fn corrupt(column: &str) -> Error {
    Error::Corrupt(format!("column {column}"))
}

fn read_program(id: &str) -> Result<ProgramId, Error> {
    ProgramId::parse(id).map_err(|_| corrupt("program_id"))
}

fn read_plan_id(id: &str) -> Result<PlanId, Error> {
    PlanId::parse(id).ok_or_else(|| corrupt("plan_id"))
}

fn read_code(text: &str) -> Result<CodeText, Error> {
    CodeText::parse(text).ok_or_else(|| corrupt("code"))
}

fn read_currency(code: &str) -> Result<Currency, Error> {
    Currency::parse(code).map_err(|_| corrupt("currency"))
}
