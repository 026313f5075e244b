use persistence::RequestKey;
use proto::points as pb;
use rpc::{Answer, status};
use tonic::Status;

use super::super::parse::{Circumstances, parse_member};
use super::super::{Call, Parsed, Rpcs};
use super::catalogue::parse_reward;
use super::codes::{is_told_code, reads_codes};
use super::vouchers::parse_voucher;
use crate::domain::Command;
use crate::domain::rewards::{RedeemReward, RefundReward, RewardRefusal};
use crate::executor::{Done, Target};
use crate::reward_error::RewardError;
use crate::store;

impl Rpcs {
    pub(super) async fn redeem_reward(
        &self,
        call: &Call,
        message: pb::RedeemRewardRequest,
    ) -> Result<Answer<pb::RewardRedemption>, Status> {
        let pb::RedeemRewardRequest { member, reward, store, terminal, request_id, cashier } = &message;
        let (program, named) = parse_member("member", member)?;
        let (_, reward) = parse_reward("reward", reward)?;
        // The voucher has the id of the operation that issues it.
        let id = RequestKey::new(&self.keyring, &program, request_id, &message).id();
        let command = Command::RedeemReward(RedeemReward { reward, member: named, seal: self.seal(&program, id) });
        let at = Circumstances { store, terminal, cashier, ..Circumstances::default() };
        let parsed = self.of_member(call, "member", member, command, Target::Catalogue(reward), &at).await?;
        let Answer { message: done, replayed } = self.submit(call, parsed, request_id, &message).await?;
        let (operation, voucher) = self.with_code(done, is_told_code(call.caller.role))?;
        Ok(Answer { message: pb::RewardRedemption { operation: Some(operation), voucher: Some(voucher) }, replayed })
    }

    pub(super) async fn refund_reward(&self, call: &Call, message: pb::RefundRewardRequest) -> Result<Answer<pb::RewardRefund>, Status> {
        let pb::RefundRewardRequest { voucher, restock, store, terminal, request_id, cashier } = &message;
        let (program, member, id) = parse_voucher("voucher", voucher)?;
        let program_id = self.program(&program).await?.id.clone();
        // Whose it is and what paid for it never change, so they may be read ahead; how it stands is read under the locks.
        let mut tx = self.database.read().await.map_err(status::from_store)?;
        let known = store::voucher(&mut tx, &program_id, id).await.map_err(status::from_store)?;
        let known = known.filter(|voucher| voucher.member == member).ok_or(RewardError::from(RewardRefusal::VoucherNotFound))?;
        let owner = match known.redemption {
            Some(operation) => store::redemption_owner(&mut tx, &program_id, operation).await.map_err(status::from_store)?,
            None => None,
        };
        drop(tx);
        let owner = owner.unwrap_or(member).name(&program_id);
        let command = Command::RefundReward(RefundReward { voucher: id, paid: known.reward.zip(known.redemption), restock: *restock });
        let at = Circumstances { store, terminal, cashier, ..Circumstances::default() };
        let parsed: Parsed = self.of_member(call, "voucher", &owner, command, Target::Voucher(id), &at).await?;
        let Answer { message: done, replayed } = self.submit(call, parsed, request_id, &message).await?;
        let (operation, voucher) = self.with_code(done, reads_codes(call.caller.role))?;
        Ok(Answer { message: pb::RewardRefund { operation: Some(operation), voucher: Some(voucher) }, replayed })
    }

    /// The ledger's answer, with the code of its voucher.
    fn with_code(&self, done: Done, in_full: bool) -> Result<(pb::Operation, pb::Voucher), Status> {
        let Done::Voucher(operation, mut voucher, key_version) = done else { return Err(status::internal()) };
        self.add_code(&mut voucher, key_version, in_full);
        Ok((*operation, *voucher))
    }
}
