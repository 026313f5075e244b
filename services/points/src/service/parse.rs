use std::collections::HashSet;
use std::sync::Arc;

use kernel::{MemberId, NameError, ProgramId, Uuid, name};
use proto::common::Role;
use proto::points as pb;
use rpc::status;
use rpc::wire::moment;
use tonic::Status;

use super::{Call, Parsed, Rpcs};
use crate::domain::{
    Adjust, Award, Capture, Command, Ensure, Line, PurchaseId, PurchaseInput, Redeem, Release, Reserve, Return, ReturnWhat,
};
use crate::executor::{Origin, Target, ToldTime};
use crate::message::{self, wallet_or_main};
use crate::program::Program;

const RESERVATION: &str = "programs/{program}/members/{member}/reservations/{reservation}";
const OPERATION: &str = "programs/{program}/operations/{operation}";
const PURCHASE: &str = "programs/{program}/purchases/{purchase}";

pub(super) fn bad_name(field: &'static str) -> impl Fn(NameError) -> Status {
    move |error| status::bad_request([(field, error.to_string())])
}

pub(super) fn parse_program(field: &'static str, text: &str) -> Result<ProgramId, Status> {
    name::program(text).map_err(bad_name(field))
}

pub(super) fn parse_member(field: &'static str, text: &str) -> Result<(ProgramId, MemberId), Status> {
    name::member(text).map_err(bad_name(field))
}

pub(super) fn parse_purchase(field: &'static str, text: &str) -> Result<(ProgramId, String), Status> {
    let [program, purchase] = name::segments(text, PURCHASE).map_err(bad_name(field))?;
    Ok((ProgramId::parse(program).map_err(bad_name(field))?, purchase.to_owned()))
}

pub(super) fn parse_operation(field: &'static str, text: &str) -> Result<(ProgramId, Uuid), Status> {
    let [program, operation] = name::segments(text, OPERATION).map_err(bad_name(field))?;
    let program = ProgramId::parse(program).map_err(bad_name(field))?;
    Ok((program, name::uuid(operation, OPERATION).map_err(bad_name(field))?))
}

fn parse_reservation(text: &str) -> Result<(ProgramId, MemberId, Uuid), Status> {
    let [program, member, reservation] = name::segments(text, RESERVATION).map_err(bad_name("name"))?;
    let program = ProgramId::parse(program).map_err(bad_name("name"))?;
    let member = MemberId(name::uuid(member, RESERVATION).map_err(bad_name("name"))?);
    Ok((program, member, name::uuid(reservation, RESERVATION).map_err(bad_name("name"))?))
}

/// Where and when something happened, and who says so. A terminal's key tells store and terminal by itself.
#[derive(Default)]
pub(super) struct Circumstances<'a> {
    pub(super) store: &'a str,
    pub(super) terminal: &'a str,
    pub(super) cashier: &'a str,
    pub(super) occurred_at: Option<ToldTime>,
    pub(super) historical: bool,
}

/// `within` is the path of the message that holds store and terminal: empty, or "purchase.".
pub(super) fn origin(call: &Call, within: &str, at: &Circumstances<'_>) -> Result<Origin, Status> {
    let caller = &call.caller;
    let own = |given: &str, own: Option<&String>, field: &str| match own {
        Some(own) if given.is_empty() || given == own => Ok(own.as_str().into()),
        Some(_) => {
            let text = "must be the one that the caller's key belongs to, or empty";
            Err(status::bad_request([(format!("{within}{field}"), text)]))
        }
        None => Ok(given.into()),
    };
    let terminal: Arc<str> = own(at.terminal, caller.terminal.as_ref(), "terminal")?;
    let mut store: Arc<str> = own(at.store, caller.store.as_ref(), "store")?;
    if let Some((of_terminal, _)) = terminal.split_once("/terminals/") {
        if !store.is_empty() && *store != *of_terminal {
            return Err(status::bad_request([(format!("{within}terminal"), "must be a terminal of the store")]));
        }
        store = of_terminal.into();
    }
    let cashier = at.cashier.into();
    Ok(Origin { actor: caller.actor().into(), store, terminal, cashier, occurred_at: at.occurred_at, historical: at.historical })
}

impl Rpcs {
    pub(super) async fn parse_award(&self, call: &Call, message: &pb::AwardRequest) -> Result<Parsed, Status> {
        let pb::AwardRequest { parent, member, purchase, historical, request_id: _ } = message;
        refuse_history(call, *historical)?;
        let purchase = purchase.as_ref().ok_or_else(|| status::bad_request([("purchase", "must be set")]))?;
        self.parse_purchase_input(call, parent, member, purchase, *historical).await
    }

    /// What an award and its preview have in common.
    pub(super) async fn parse_purchase_input(
        &self,
        call: &Call,
        parent: &str,
        member: &str,
        input: &pb::PurchaseInput,
        historical: bool,
    ) -> Result<Parsed, Status> {
        let pb::PurchaseInput {
            purchase_id,
            net,
            lines,
            store,
            terminal,
            channel,
            offer,
            occur_time,
            redemptions,
            tax_minor_units,
            discount_minor_units,
            cashier,
        } = input;
        let program = self.program(&parse_program("parent", parent)?).await?;
        let member = if member.is_empty() { None } else { Some(parse_member("member", member)?.1) };
        let net = money(&program, "purchase.net", net.as_ref())?;
        let (tax, discount) = (*tax_minor_units, *discount_minor_units);
        let told_twice = [("tax", tax), ("discount", discount)].into_iter().find(|(_, amount)| *amount > 0 && !lines.is_empty());
        if let Some((what, _)) = told_twice {
            return Err(status::bad_request([(format!("purchase.{what}_minor_units"), "must be told line by line where there are lines")]));
        }
        let lines = parse_lines(lines, net)?;
        let occurred_at = told_time("purchase.occur_time", occur_time.as_ref())?;
        let origin = origin(call, "purchase.", &Circumstances { store, terminal, cashier, occurred_at, historical })?;
        let target = Target::purchase(&program.id, purchase_id);
        let redemptions = parse_redemptions(redemptions, member)?;
        let id = PurchaseId(purchase_id.as_str().into());
        let purchase = PurchaseInput { id, net, tax, discount, lines, channel: channel.clone(), offer: offer.clone(), redemptions };
        let command = Command::Award(Award { program: program.id.clone(), member, purchase });
        Ok(Parsed { program, member, other: None, command, target, origin })
    }

    pub(super) async fn parse_redeem(&self, call: &Call, message: &pb::RedeemRequest) -> Result<Parsed, Status> {
        let pb::RedeemRequest { member, points, mode: _, wallet: name, reference, store, terminal, request_id: _, cashier } = message;
        let up_to = message.mode() == pb::redeem_request::Mode::UpTo;
        let command = Command::Redeem(Redeem { wallet: wallet_or_main(name), points: *points, up_to, reference: reference.clone() });
        let at = Circumstances { store, terminal, cashier, ..Circumstances::default() };
        self.of_member(call, "member", member, command, Target::Account, &at).await
    }

    pub(super) async fn parse_reserve(&self, call: &Call, message: &pb::ReserveRequest) -> Result<Parsed, Status> {
        let pb::ReserveRequest { member, points, wallet: name, ttl, reference, store, terminal, request_id: _, several_captures, cashier } =
            message;
        let ttl = ttl.map(std::time::Duration::try_from).transpose().map_err(|_| status::bad_request([("ttl", "must be positive")]))?;
        let reference = reference.as_str().into();
        let command =
            Command::Reserve(Reserve { wallet: wallet_or_main(name), points: *points, ttl, reference, several: *several_captures });
        let at = Circumstances { store, terminal, cashier, ..Circumstances::default() };
        self.of_member(call, "member", member, command, Target::Account, &at).await
    }

    pub(super) async fn parse_capture(&self, call: &Call, message: &pb::CaptureRequest) -> Result<Parsed, Status> {
        let pb::CaptureRequest { name, points, store, terminal, request_id: _, last, cashier } = message;
        let (program, member, reservation) = parse_reservation(name)?;
        let command = Command::Capture(Capture { reservation, points: *points, last: *last });
        let at = Circumstances { store, terminal, cashier, ..Circumstances::default() };
        self.of_member(call, "name", &member.name(&program), command, Target::Reservation(reservation), &at).await
    }

    pub(super) async fn parse_release(&self, call: &Call, message: &pb::ReleaseRequest) -> Result<Parsed, Status> {
        let pb::ReleaseRequest { name, request_id: _ } = message;
        let (program, member, reservation) = parse_reservation(name)?;
        let command = Command::Release(Release { reservation });
        self.of_member(call, "name", &member.name(&program), command, Target::Reservation(reservation), &Circumstances::default()).await
    }

    pub(super) async fn parse_return(&self, call: &Call, message: &pb::ReturnPurchaseRequest) -> Result<Parsed, Status> {
        let pb::ReturnPurchaseRequest { purchase, what, store, terminal, occur_time, historical, request_id: _, give_back_points, cashier } =
            message;
        refuse_history(call, *historical)?;
        let (program, id) = parse_purchase("purchase", purchase)?;
        let program = self.program(&program).await?;
        let what = match what {
            Some(pb::return_purchase_request::What::Lines(lines)) => return_lines(lines)?,
            Some(pb::return_purchase_request::What::RemainingNet(left)) => {
                ReturnWhat::RemainingNet(money(&program, "remaining_net", Some(left))?)
            }
            None => return Err(status::bad_request([("what", "one of lines and remaining_net must be set")])),
        };
        let target = Target::purchase(&program.id, &id);
        let occurred_at = told_time("occur_time", occur_time.as_ref())?;
        let origin = origin(call, "", &Circumstances { store, terminal, cashier, occurred_at, historical: *historical })?;
        // Whose purchase it is never changes, so it may be read ahead; everything else is read under the account's lock.
        let stored = self.stored_purchase(target).await?;
        let member = stored.as_ref().and_then(|purchase| purchase.member);
        // The purchase may have been made under terms that this process has not seen yet.
        let program = match stored.map(|purchase| purchase.facts.version) {
            Some(version) if program.versions.as_ref().is_none_or(|versions| versions.number(version).is_none()) => {
                self.programs.forget(&program.id);
                self.program(&program.id).await?
            }
            _ => program,
        };
        let command = Command::Return(Return { purchase: PurchaseId(id.into()), what, give_back: *give_back_points });
        Ok(Parsed { program, member, other: None, command, target, origin })
    }

    pub(super) async fn parse_adjust(&self, call: &Call, message: &pb::AdjustRequest) -> Result<Parsed, Status> {
        let pb::AdjustRequest { member, points, wallet: name, reason, approver, request_id: _ } = message;
        if *points == 0 {
            return Err(status::bad_request([("points", "must not be zero")]));
        }
        let adjust = Adjust { wallet: wallet_or_main(name), points: *points, reason: reason.clone(), approver: approver.clone() };
        self.of_member(call, "member", member, Command::Adjust(adjust), Target::Account, &Circumstances::default()).await
    }

    pub(super) async fn parse_ensure(&self, call: &Call, message: &pb::EnsureRewardRequest) -> Result<Parsed, Status> {
        let pb::EnsureRewardRequest { member, reward_key, points, wanted, version, reason, request_id: _, wallet } = message;
        let (program, _) = parse_member("member", member)?;
        let target = Target::reward(&program, reward_key);
        let (key, reason) = (reward_key.clone(), reason.clone());
        let ensure = Ensure { key, wallet: wallet_or_main(wallet), points: *points, wanted: *wanted, version: *version, reason };
        self.of_member(call, "member", member, Command::Ensure(ensure), target, &Circumstances::default()).await
    }

    pub(super) async fn of_member(
        &self,
        call: &Call,
        field: &'static str,
        member: &str,
        command: Command,
        target: Target,
        at: &Circumstances<'_>,
    ) -> Result<Parsed, Status> {
        let (program, member) = parse_member(field, member)?;
        let program = self.program(&program).await?;
        Ok(Parsed { program, member: Some(member), other: None, command, target, origin: origin(call, "", at)? })
    }
}

/// Old data comes from back ends; a till that could claim it would get round the check of its clock.
pub(super) fn refuse_history(call: &Call, historical: bool) -> Result<(), Status> {
    if historical && call.caller.role == Role::Terminal {
        return Err(status::bad_request([("historical", "is not for terminals")]));
    }
    Ok(())
}

/// The time of an event that a caller tells. Whether it is believed is judged once no first answer has been found.
pub(super) fn told_time(field: &'static str, given: Option<&prost_types::Timestamp>) -> Result<Option<ToldTime>, Status> {
    given.map(|given| Ok(ToldTime { at: moment(field, given)?, field })).transpose()
}

pub(super) fn money(program: &Program, field: &str, given: Option<&proto::common::Money>) -> Result<i64, Status> {
    let given = given.ok_or_else(|| status::bad_request([(field, "must be set")]))?;
    let minor = message::minor_units(program, given).map_err(|expected| {
        let text = format!("{field} must be in {expected}, the program's currency");
        status::with_reason(tonic::Code::InvalidArgument, "CURRENCY_MISMATCH", text, [("expected", expected.to_string())])
    })?;
    if minor < 0 {
        return Err(status::bad_request([(format!("{field}.minor_units"), "must not be negative")]));
    }
    Ok(minor)
}

fn parse_redemptions(names: &[String], member: Option<MemberId>) -> Result<Vec<Uuid>, Status> {
    if member.is_none() && !names.is_empty() {
        return Err(status::bad_request([("purchase.redemptions", "must be empty for a stranger")]));
    }
    let mut seen = HashSet::new();
    let one = |(index, name): (usize, &String)| {
        let wrong = |text: String| status::bad_request([(format!("purchase.redemptions[{index}]"), text)]);
        let [_, operation] = name::segments(name, OPERATION).map_err(|error| wrong(error.to_string()))?;
        let id = name::uuid(operation, OPERATION).map_err(|error| wrong(error.to_string()))?;
        if seen.insert(id) { Ok(id) } else { Err(wrong("must be named once".to_owned())) }
    };
    names.iter().enumerate().map(one).collect()
}

fn parse_lines(lines: &[pb::PurchaseLine], net: i64) -> Result<Vec<Line>, Status> {
    let mut ids = HashSet::new();
    if let Some(twice) = lines.iter().position(|line| !ids.insert(line.line_id.as_str())) {
        return Err(status::bad_request([(format!("purchase.lines[{twice}].line_id"), "must be unique in the purchase")]));
    }
    let sum: i64 = lines.iter().map(|line| line.net_minor_units).sum();
    if !lines.is_empty() && sum != net {
        return Err(status::bad_request([("purchase.lines", format!("their nets add up to {sum}, not to the purchase's {net}"))]));
    }
    let line = |line: &pb::PurchaseLine| {
        let pb::PurchaseLine { line_id, sku, category, quantity, net_minor_units, tax_minor_units, discount_minor_units } = line.clone();
        Line {
            id: line_id,
            sku,
            category,
            quantity,
            net: net_minor_units,
            tax: tax_minor_units,
            discount: discount_minor_units,
            returned: 0,
        }
    };
    Ok(lines.iter().map(line).collect())
}

fn return_lines(lines: &pb::ReturnLines) -> Result<ReturnWhat, Status> {
    let mut ids = HashSet::new();
    if let Some(twice) = lines.lines.iter().position(|line| !ids.insert(line.line_id.as_str())) {
        return Err(status::bad_request([(format!("lines.lines[{twice}].line_id"), "must be named once")]));
    }
    Ok(ReturnWhat::Lines(lines.lines.iter().map(|line| (line.line_id.clone(), line.quantity)).collect()))
}
