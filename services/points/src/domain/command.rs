use std::sync::Arc;
use std::time::Duration;

use kernel::{MemberId, Period, ProgramId, Timestamp, Uuid};

use super::rewards::{RedeemReward, RefundReward};
use super::{ChangePool, LeavePool, PurchaseInput, RedeemFromPool, Return};

/// What can be asked of an account. Its stamp travels beside it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Record a purchase and award its points.
    Award(Award),
    /// Spend points at once.
    Redeem(Redeem),
    /// Spend points on a reward.
    RedeemReward(RedeemReward),
    /// Give the points of a reward back.
    RefundReward(RefundReward),
    /// Set points aside.
    Reserve(Reserve),
    /// Spend a reservation.
    Capture(Capture),
    /// Give a reservation up.
    Release(Release),
    /// Take back the points of goods that went back.
    Return(Return),
    /// Correct a balance.
    Adjust(Adjust),
    /// Bring a reward of another service to the state it should have.
    Ensure(Ensure),
    /// Award points for something other than a purchase.
    Activity(Activity),
    /// Open or give up what waits for an event.
    Resolve(Resolve),
    /// Give back points of a redemption.
    Refund(Refund),
    /// Let lots lapse at another time.
    SetExpiry(SetExpiry),
    /// Waive what is owed.
    Forgive(Forgive),
    /// Give points to another member.
    Transfer(Transfer),
    /// Take another member's account in.
    Merge(Merge),
    /// Let an account go that was taken in.
    Unmerge(Merge),
    /// Change who shares a pool.
    ChangePool(ChangePool),
    /// Leave a pool.
    LeavePool(LeavePool),
    /// Spend points of a pool.
    RedeemFromPool(RedeemFromPool),
}

/// A purchase to record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Award {
    /// The program.
    pub program: ProgramId,
    /// The buyer.
    pub member: Option<MemberId>,
    /// What was bought.
    pub purchase: PurchaseInput,
}

/// Points to spend at once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Redeem {
    /// The wallet.
    pub wallet: Arc<str>,
    /// How many.
    pub points: i64,
    /// Less will do, when there are less.
    pub up_to: bool,
    /// What for.
    pub reference: String,
}

/// Points to set aside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reserve {
    /// The wallet.
    pub wallet: Arc<str>,
    /// How many.
    pub points: i64,
    /// For how long; the terms say when absent.
    pub ttl: Option<Duration>,
    /// What for.
    pub reference: Arc<str>,
    /// It may be captured in several parts.
    pub several: bool,
}

/// A reservation to spend.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Capture {
    /// Which.
    pub reservation: Uuid,
    /// How much of it; all that is left when absent.
    pub points: Option<i64>,
    /// The last part of several; the rest comes free.
    pub last: bool,
}

/// A reservation to give up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Release {
    /// Which.
    pub reservation: Uuid,
}

/// A correction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Adjust {
    /// The wallet.
    pub wallet: Arc<str>,
    /// Signed points, not zero.
    pub points: i64,
    /// Why.
    pub reason: String,
    /// Who approved it.
    pub approver: String,
}

/// A reward of another service and the state it should have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ensure {
    /// The reward's own key in the program.
    pub key: String,
    /// The wallet that they go to.
    pub wallet: Arc<str>,
    /// How many points it is.
    pub points: i64,
    /// To have or not to have.
    pub wanted: bool,
    /// Counts the changes of the wish.
    pub version: i64,
    /// Why.
    pub reason: String,
}

/// Something other than a purchase that earns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Activity {
    /// What it is: "review".
    pub activity: String,
    /// Its own id, unique in the program among those of its kind.
    pub id: Arc<str>,
    /// The key of the link that proves it; `None` where none was told.
    pub proof: Option<Uuid>,
}

/// What has become of pending points that wait for an event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resolve {
    /// The event that they wait for.
    pub event: Arc<str>,
    /// The purchase or activity that earned them; all when absent.
    pub reference: Option<Arc<str>>,
    /// It came; else they are given up.
    pub came: bool,
    /// Why they are given up.
    pub reason: String,
}

/// Points of a redemption to give back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refund {
    /// The operation that spent them.
    pub redemption: Uuid,
    /// How many; all that have not been given back when absent.
    pub points: Option<i64>,
}

/// A change of the time at which lots lapse.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SetExpiry {
    /// The wallet.
    pub wallet: Arc<str>,
    /// Only lots that would lapse at or before this moment; all that lapse ever when absent.
    pub lapsing_by: Option<Timestamp>,
    /// To when.
    pub to: NewExpiry,
    /// Why.
    pub reason: String,
    /// Who approved it.
    pub approver: String,
}

/// When lots are to lapse.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NewExpiry {
    /// At a moment.
    At(Timestamp),
    /// So much later than before.
    Later(Period),
    /// Never.
    Never,
}

/// A debt to waive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Forgive {
    /// The wallet.
    pub wallet: Arc<str>,
    /// How many points of it; all when absent.
    pub points: Option<i64>,
    /// Why.
    pub reason: String,
    /// Who approved it.
    pub approver: String,
}

/// Points to give to another member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transfer {
    /// The wallet.
    pub wallet: Arc<str>,
    /// How many.
    pub points: i64,
    /// Why.
    pub reason: String,
    /// The other is a pool, and the member brings them into it.
    pub into_pool: bool,
}

/// Accounts of one person to be one, or two again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Merge {
    /// Why.
    pub reason: String,
}
