//! Requests about what an account holds already, and about two accounts.

use proto::points as pb;
use rpc::status;
use rpc::wire::moment;
use tonic::Status;
use url::Url;

use super::parse::{Circumstances, origin, parse_member, parse_operation, refuse_history, told_time};
use super::{Call, Parsed, Rpcs};
use crate::domain::{Activity, Command, Forgive, Merge, NewExpiry, Refund, Resolve, SetExpiry, Transfer};
use crate::executor::Target;
use crate::message::{self, wallet_or_main};
use crate::store;

impl Rpcs {
    pub(super) async fn parse_activity(&self, call: &Call, message: &pb::AwardActivityRequest) -> Result<Parsed, Status> {
        let pb::AwardActivityRequest {
            member,
            activity,
            activity_id,
            occur_time,
            store,
            terminal,
            historical,
            request_id: _,
            proof_url,
            cashier,
        } = message;
        refuse_history(call, *historical)?;
        let (program, _) = parse_member("member", member)?;
        let proof = if proof_url.is_empty() { None } else { Some(Target::proof(&program, &same_link(proof_url)?)) };
        let target = Target::activity(&program, activity, activity_id, proof);
        let command = Command::Activity(Activity { activity: activity.clone(), id: activity_id.as_str().into(), proof });
        let occurred_at = told_time("occur_time", occur_time.as_ref())?;
        let at = Circumstances { store, terminal, cashier, occurred_at, historical: *historical };
        self.of_member(call, "member", member, command, target, &at).await
    }

    pub(super) async fn parse_activate(&self, call: &Call, message: &pb::ActivatePendingRequest) -> Result<Parsed, Status> {
        let pb::ActivatePendingRequest { member, event, pending_reference, occur_time, request_id: _ } = message;
        let at = Circumstances { occurred_at: told_time("occur_time", occur_time.as_ref())?, ..Circumstances::default() };
        let command = resolve(event, pending_reference, true, "");
        self.of_member(call, "member", member, command, Target::Account, &at).await
    }

    pub(super) async fn parse_cancel(&self, call: &Call, message: &pb::CancelPendingRequest) -> Result<Parsed, Status> {
        let pb::CancelPendingRequest { member, event, pending_reference, reason, request_id: _ } = message;
        let command = resolve(event, pending_reference, false, reason);
        self.of_member(call, "member", member, command, Target::Account, &Circumstances::default()).await
    }

    pub(super) async fn parse_refund(&self, call: &Call, message: &pb::RefundRedemptionRequest) -> Result<Parsed, Status> {
        let pb::RefundRedemptionRequest { redemption, points, store, terminal, request_id: _, cashier } = message;
        let (program, id) = parse_operation("redemption", redemption)?;
        let program = self.program(&program).await?;
        // Whose points they were never changes, so it may be read ahead.
        let mut tx = self.database.read().await.map_err(status::from_store)?;
        let member = store::redemption_owner(&mut tx, &program.id, id).await.map_err(status::from_store)?;
        drop(tx);
        let origin = origin(call, "", &Circumstances { store, terminal, cashier, ..Circumstances::default() })?;
        let command = Command::Refund(Refund { redemption: id, points: *points });
        Ok(Parsed { program, member, other: None, command, target: Target::Redemption(id), origin })
    }

    pub(super) async fn parse_set_expiry(&self, call: &Call, message: &pb::SetExpiryRequest) -> Result<Parsed, Status> {
        use pb::set_expiry_request::To;
        let pb::SetExpiryRequest { member, wallet: name, lapse_by_time, to, reason, approver, request_id: _ } = message;
        let to = match to {
            Some(To::ExpireTime(at)) => NewExpiry::At(moment("expire_time", at)?),
            Some(To::Later(period)) => {
                NewExpiry::Later(message::period(period).ok_or_else(|| status::bad_request([("later.unit", "must be set")]))?)
            }
            Some(To::Never(true)) => NewExpiry::Never,
            Some(To::Never(false)) => return Err(status::bad_request([("never", "must be true")])),
            None => return Err(status::bad_request([("to", "one of expire_time, later and never must be set")])),
        };
        let command = Command::SetExpiry(SetExpiry {
            wallet: wallet_or_main(name),
            lapsing_by: lapse_by_time.as_ref().map(|at| moment("lapse_by_time", at)).transpose()?,
            to,
            reason: reason.clone(),
            approver: approver.clone(),
        });
        self.of_member(call, "member", member, command, Target::Account, &Circumstances::default()).await
    }

    pub(super) async fn parse_forgive(&self, call: &Call, message: &pb::ForgiveDeficitRequest) -> Result<Parsed, Status> {
        let pb::ForgiveDeficitRequest { member, wallet: name, points, reason, approver, request_id: _ } = message;
        let forgive = Forgive { wallet: wallet_or_main(name), points: *points, reason: reason.clone(), approver: approver.clone() };
        self.of_member(call, "member", member, Command::Forgive(forgive), Target::Account, &Circumstances::default()).await
    }

    pub(super) async fn parse_transfer(&self, call: &Call, message: &pb::TransferRequest) -> Result<Parsed, Status> {
        let pb::TransferRequest { member, to_member, wallet: name, points, reason, request_id: _ } = message;
        let transfer = Transfer { wallet: wallet_or_main(name), points: *points, reason: reason.clone(), into_pool: false };
        self.between(call, member, ("to_member", to_member), Command::Transfer(transfer)).await
    }

    pub(super) async fn parse_merge(&self, call: &Call, message: &pb::MergeAccountsRequest) -> Result<Parsed, Status> {
        let pb::MergeAccountsRequest { member, merged_member, reason, request_id: _ } = message;
        let merge = Command::Merge(Merge { reason: reason.clone() });
        self.between(call, member, ("merged_member", merged_member), merge).await
    }

    pub(super) async fn parse_unmerge(&self, call: &Call, message: &pb::UnmergeAccountsRequest) -> Result<Parsed, Status> {
        let pb::UnmergeAccountsRequest { member, merged_member, reason, request_id: _ } = message;
        let unmerge = Command::Unmerge(Merge { reason: reason.clone() });
        self.between(call, member, ("merged_member", merged_member), unmerge).await
    }

    async fn between(&self, call: &Call, member: &str, other: (&'static str, &str), command: Command) -> Result<Parsed, Status> {
        let (field, other) = other;
        let (program, first) = parse_member("member", member)?;
        let (program_of_other, second) = parse_member(field, other)?;
        if program != program_of_other {
            return Err(status::bad_request([(field, "must be a member of the same program")]));
        }
        if first == second {
            return Err(status::bad_request([(field, "must be another member")]));
        }
        let parsed = self.of_member(call, "member", member, command, Target::Account, &Circumstances::default()).await?;
        Ok(Parsed { other: Some(second), ..parsed })
    }
}

fn resolve(event: &str, reference: &str, came: bool, reason: &str) -> Command {
    let reference = (!reference.is_empty()).then(|| reference.into());
    Command::Resolve(Resolve { event: event.into(), reference, came, reason: reason.to_owned() })
}

/// Parameters by which links are followed, and which say nothing of where they lead.
const TRACKERS: [&str; 9] = ["fbclid", "gclid", "dclid", "msclkid", "igshid", "igsh", "mc_cid", "mc_eid", "ref_src"];

/// A link as its usual spellings: without what only says where in the page it points, or by which campaign somebody came, and its parameters
/// in order.
fn same_link(link: &str) -> Result<String, Status> {
    let wrong = || status::bad_request([("proof_url", "must be an address of the web, with https or http")]);
    let mut url = Url::parse(link).map_err(|_| wrong())?;
    if !matches!(url.scheme(), "https" | "http") || !url.has_host() {
        return Err(wrong());
    }
    url.set_scheme("https").map_err(|()| wrong())?;
    url.set_fragment(None);
    url.set_username("").and_then(|()| url.set_password(None)).map_err(|()| wrong())?;
    let host = url.domain().and_then(|host| host.strip_suffix('.')).map(str::to_owned);
    host.map_or(Ok(()), |host| url.set_host(Some(&host))).map_err(|_| wrong())?;
    let leads = |name: String| !name.starts_with("utm_") && !TRACKERS.contains(&name.as_str());
    let parameters = url.query_pairs().filter(|(name, _)| leads(name.to_ascii_lowercase()));
    let mut kept: Vec<(String, String)> = parameters.map(|(name, value)| (name.into(), value.into())).collect();
    kept.sort_unstable();
    url.set_query(None);
    if !kept.is_empty() {
        url.query_pairs_mut().extend_pairs(kept);
    }
    let path = plainly(url.path());
    url.set_path(path.trim_end_matches('/'));
    Ok(url.into())
}

/// A path in which nothing is written with a percent sign that needs none, and what does in capitals: RFC 3986, section 6.2.2. What stands
/// for a reserved character is another path than the character.
fn plainly(path: &str) -> String {
    let mut parts = path.split('%');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let hex = part.get(..2).filter(|hex| hex.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let code = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match code.filter(|code| code.is_ascii_alphanumeric() || b"-._~".contains(code)) {
            Some(code) => plain.push(code.into()),
            None => plain.push_str(&code.map_or("%".to_owned(), |code| format!("%{code:02X}"))),
        }
        plain.push_str(if code.is_some() { &part[2..] } else { part });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_the_same_however_it_is_written() {
        let same = "https://example.com/p/17?id=3";
        for link in [
            same,
            "http://EXAMPLE.com/p/17/?id=3",
            "https://example.com:443/p/17?id=3#top",
            "https://example.com/p/./17?utm_source=app&id=3&utm_medium=x",
            "https://example.com/p/17?fbclid=abc&id=3",
            "https://example.com/%70/%31%37?id=3",
            "https://example.com/p/17?%69d=%33",
            "https://example.com./p/17?id=3",
            "https://example.com.:443/p/17?id=3",
            "https://example.com/p/17?UTM_Source=app&FbClid=abc&id=3",
        ] {
            assert_eq!(same_link(link).unwrap(), same, "{link}");
        }
        assert_eq!(same_link("https://example.com/p?a=1&b=2").unwrap(), same_link("https://example.com/p?b=2&a=1").unwrap());
        assert_ne!(same_link("https://example.com/p/17?id=4").unwrap(), same);
        assert_ne!(same_link("https://example.com/P/17?id=3").unwrap(), same, "paths may differ by case");
        for (one, other) in [
            ("/a%2Fb", "/a/b"),
            ("/a%3fb", "/a?b"),
            ("/a%252Fb", "/a%2Fb"),
            ("/%7e%e4", "/~%E5"),
            ("/a?ID=3", "/a?id=3"),
            ("/a%3Bb", "/a;b"),
        ] {
            let link = |path: &str| same_link(&format!("https://example.com{path}")).unwrap();
            assert_ne!(link(one), link(other), "{one} leads elsewhere than {other}");
        }
        for (one, other) in [("/a%2fb", "/a%2Fb"), ("/%7Euser", "/~user"), ("/caf%c3%a9", "/café"), ("/100%", "/100%")] {
            let link = |path: &str| same_link(&format!("https://example.com{path}")).unwrap();
            assert_eq!(link(one), link(other), "{one} is {other}");
        }
        for link in ["example.com/p/17", "ftp://example.com/p", "mailto:a@example.com", "https://", "javascript:alert(1)"] {
            assert!(same_link(link).is_err(), "{link}");
        }
    }
}
