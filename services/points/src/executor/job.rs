use std::sync::Arc;

use kernel::{MemberId, Timestamp, Uuid};
use persistence::RequestKey;
use proto::points as pb;
use rpc::config::ClockConfig;
use tonic::Status;

use crate::domain::{AccountId, Command, Count, Place, RewardState, Settled};
use crate::error;
use crate::program::Program;

/// One command on its way to the ledger.
#[derive(Clone)]
pub(crate) struct Job {
    pub(crate) program: Arc<Program>,
    /// The account; `None` for a stranger.
    pub(crate) account: Option<(AccountId, MemberId)>,
    /// The other account of a command between two.
    pub(crate) other: Option<(AccountId, MemberId)>,
    /// The member that was named, where the account is that of who survived him.
    pub(crate) presented: Option<MemberId>,
    /// The same of the other account.
    pub(crate) presented_other: Option<MemberId>,
    pub(crate) work: Arc<Work>,
    pub(crate) origin: Arc<Origin>,
}

impl Job {
    /// The same for the account of who survived a merge.
    pub(crate) fn moved(self, side: Side, to: MemberId) -> Job {
        let account = Some((AccountId::of(&self.program.id, to), to));
        match side {
            Side::First => {
                let named = self.presented.or(self.account.map(|(_, member)| member));
                Job { presented: named.filter(|named| *named != to), account, ..self }
            }
            Side::Second => Job { presented_other: self.presented_other.or(self.other.map(|(_, member)| member)), other: account, ..self },
        }
    }
}

/// One of the two accounts of a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    First,
    Second,
}

/// Who asked, where, for when.
pub(crate) struct Origin {
    pub(crate) actor: Arc<str>,
    pub(crate) store: Arc<str>,
    pub(crate) terminal: Arc<str>,
    pub(crate) cashier: Arc<str>,
    /// `None` for now.
    pub(crate) occurred_at: Option<ToldTime>,
    /// Old data: nobody is to be told.
    pub(crate) historical: bool,
}

/// A time that a caller told.
#[derive(Clone, Copy)]
pub(crate) struct ToldTime {
    pub(crate) at: Timestamp,
    /// The field that it stood in.
    pub(crate) field: &'static str,
}

impl Origin {
    /// Where it happened.
    pub(crate) fn place(&self) -> Place<'_> {
        Place { store: &self.store, terminal: &self.terminal, cashier: &self.cashier }
    }

    /// When it happened.
    pub(crate) fn occurred_at(&self, now: Timestamp) -> Timestamp {
        self.occurred_at.map_or(now, |told| told.at)
    }

    /// Refuses a time that is not believed: only old data may lie further back than a till can have been offline.
    pub(crate) fn check_time(&self, clock: &ClockConfig, now: Timestamp) -> Result<(), Status> {
        self.occurred_at.map_or(Ok(()), |told| told.check(self.historical, clock, now))
    }
}

impl ToldTime {
    /// Refuses a time that is not believed.
    pub(crate) fn check(self, historical: bool, clock: &ClockConfig, now: Timestamp) -> Result<(), Status> {
        let ToldTime { at, field } = self;
        let believed = clock.believed(now);
        if at > *believed.end() {
            return Err(error::untimely(field, "OCCUR_TIME_IN_FUTURE", "lies further ahead of the server's clock than is believed"));
        }
        if !historical && at < *believed.start() {
            let text = "lies further back than is believed of anything but historical data";
            return Err(error::untimely(field, "OCCUR_TIME_TOO_OLD", text));
        }
        Ok(())
    }
}

/// What is to be done.
#[expect(clippy::large_enum_variant, reason = "nearly every job is a command, and a box for each would cost more")]
pub(crate) enum Work {
    /// A caller's command.
    Command {
        key: RequestKey,
        request_id: Arc<str>,
        command: Command,
        target: Target,
        /// The encoded request, for what is kept as it came.
        request: Vec<u8>,
    },
    /// What has fallen due.
    Settle,
}

/// What a command touches besides its account, by key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Target {
    Account,
    Purchase(Uuid),
    Reservation(Uuid),
    Reward(Uuid),
    /// An activity, with the link that proves it.
    Activity(Uuid, Option<Uuid>),
    Redemption(Uuid),
    /// A reward of the catalogue.
    Catalogue(Uuid),
    Voucher(Uuid),
}

impl Target {
    /// The key of a purchase: the hash of program and purchase id.
    pub(crate) fn purchase(program: &kernel::ProgramId, id: &str) -> Target {
        Target::Purchase(Target::purchase_key(program, id))
    }

    /// The same key by itself.
    pub(crate) fn purchase_key(program: &kernel::ProgramId, id: &str) -> Uuid {
        hash("regulars points purchase v1", program, id)
    }

    /// The key of an activity: the hash of program, activity and its id. `proof` is that of the link that proves it.
    pub(crate) fn activity(program: &kernel::ProgramId, activity: &str, id: &str, proof: Option<Uuid>) -> Target {
        Target::Activity(hash("regulars points activity v1", program, &format!("{activity}/{id}")), proof)
    }

    /// The key of a link that proves an activity: the hash of program and link. It stands beside those of activities.
    pub(crate) fn proof(program: &kernel::ProgramId, link: &str) -> Uuid {
        hash("regulars points proof v1", program, link)
    }

    /// The key of a reward of the catalogue: the hash of program and id.
    pub(crate) fn catalogue(program: &kernel::ProgramId, reward: &str) -> Uuid {
        hash("regulars points catalogue v1", program, reward)
    }

    /// The key of what members share in a period: the hash of program, what is counted and the period.
    pub(crate) fn counter(program: &kernel::ProgramId, count: &Count) -> Uuid {
        let until = count.until.map(|until| until.as_micros().to_string()).unwrap_or_default();
        hash("regulars points counter v2", program, &format!("{}/{until}/{}", count.since.as_micros(), count.of))
    }

    /// The key of a grant: the hash of program and grant key.
    pub(crate) fn grant(program: &kernel::ProgramId, key: &str) -> Uuid {
        hash("regulars points grant v1", program, key)
    }

    /// The key of a wish for a voucher: the hash of program and wish key.
    pub(crate) fn wish(program: &kernel::ProgramId, key: &str) -> Uuid {
        hash("regulars points wish v1", program, key)
    }

    /// The key of a gift for an occasion: the hash of program, occasion, account, and which birthday or absence of his it is for.
    pub(crate) fn occasion(program: &kernel::ProgramId, occasion: &str, account: AccountId, of: &str) -> Uuid {
        hash("regulars points occasion v1", program, &format!("{occasion}/{}/{of}", account.0))
    }

    /// The key of what vouchers hold of an order: the hash of program and order.
    pub(crate) fn order_of_vouchers(program: &kernel::ProgramId, order: &str) -> Uuid {
        hash("regulars points order of vouchers v1", program, order)
    }

    /// The key of what vouchers hold of a member's first order: the hash of program and account.
    pub(crate) fn first_order(program: &kernel::ProgramId, account: AccountId) -> Uuid {
        hash("regulars points first order v1", program, &account.0.to_string())
    }

    /// The key of a use without a connection: the hash of program, terminal and number.
    pub(crate) fn offline_use(program: &kernel::ProgramId, terminal: &str, sequence: i64) -> Uuid {
        hash("regulars points offline use v1", program, &format!("{terminal}/{sequence}"))
    }

    /// The key of a reward: the hash of program and reward key.
    pub(crate) fn reward(program: &kernel::ProgramId, key: &str) -> Target {
        Target::Reward(hash("regulars points reward v1", program, key))
    }
}

fn hash(context: &str, program: &kernel::ProgramId, id: &str) -> Uuid {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    hasher.update(program.as_str().as_bytes()).update(b"/").update(id.as_bytes());
    let mut bytes = [0; 16];
    hasher.finalize_xof().fill(&mut bytes);
    Uuid::new_v8(bytes)
}

/// What a job is answered.
pub(crate) enum Reply {
    /// It was done, now or when the request came first.
    Done { done: Done, replayed: bool },
    /// It was refused, now or when the request came first.
    Refused(Box<Status>),
    /// What was due was done.
    Settled(Settled),
    /// Nothing was done: an account has been merged into that of this member.
    Moved(Side, MemberId),
    /// Nothing was done: it gives back points of this redemption, which are in another account.
    Elsewhere(Uuid),
    /// Nothing was done: what it is about was earned under terms that this process has not seen yet.
    Outdated,
}

/// The answer of a command.
pub(crate) enum Done {
    Operation(Box<pb::Operation>),
    Ensured(RewardState),
    /// With the voucher, which has no code yet, and the version of the key that its code is made with.
    Voucher(Box<pb::Operation>, Box<pb::Voucher>, i64),
}
