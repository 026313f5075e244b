//! Rewards and vouchers: protobuf in, protobuf out.

mod baskets;
pub(super) mod catalogue;
mod codes;
mod offline;
mod redeem;
mod vouchers;

use proto::points as pb;
use proto::points::rewards_service_server::RewardsService;
use rpc::Answer;
use tonic::{Request, Response, Status, async_trait};

use super::{Call, Rpcs};

#[async_trait]
impl RewardsService for Rpcs {
    async fn create_reward(&self, request: Request<pb::CreateRewardRequest>) -> Result<Response<pb::Reward>, Status> {
        self.create_reward(request.into_inner()).await.map(Answer::into_response)
    }

    async fn get_reward(&self, request: Request<pb::GetRewardRequest>) -> Result<Response<pb::Reward>, Status> {
        self.reward(request.into_inner()).await.map(Response::new)
    }

    async fn list_rewards(&self, request: Request<pb::ListRewardsRequest>) -> Result<Response<pb::ListRewardsResponse>, Status> {
        self.rewards(request.into_inner()).await.map(Response::new)
    }

    async fn retire_reward(&self, request: Request<pb::RetireRewardRequest>) -> Result<Response<pb::Reward>, Status> {
        self.retire_reward(request.into_inner()).await.map(Answer::into_response)
    }

    async fn adjust_stock(&self, request: Request<pb::AdjustStockRequest>) -> Result<Response<pb::Reward>, Status> {
        self.adjust_stock(request.into_inner()).await.map(Answer::into_response)
    }

    async fn list_member_rewards(
        &self,
        request: Request<pb::ListMemberRewardsRequest>,
    ) -> Result<Response<pb::ListMemberRewardsResponse>, Status> {
        self.member_rewards(request.into_inner()).await.map(Response::new)
    }

    async fn redeem_reward(&self, request: Request<pb::RedeemRewardRequest>) -> Result<Response<pb::RewardRedemption>, Status> {
        let (call, message) = (Call::of(&request), request.into_inner());
        self.redeem_reward(&call, message).await.map(Answer::into_response)
    }

    async fn refund_reward(&self, request: Request<pb::RefundRewardRequest>) -> Result<Response<pb::RewardRefund>, Status> {
        let (call, message) = (Call::of(&request), request.into_inner());
        self.refund_reward(&call, message).await.map(Answer::into_response)
    }

    async fn grant_voucher(&self, request: Request<pb::GrantVoucherRequest>) -> Result<Response<pb::Voucher>, Status> {
        let (call, message) = (Call::of(&request), request.into_inner());
        self.grant_voucher(&call, message).await.map(Answer::into_response)
    }

    async fn ensure_voucher(&self, request: Request<pb::EnsureVoucherRequest>) -> Result<Response<pb::EnsureVoucherResponse>, Status> {
        let (call, message) = (Call::of(&request), request.into_inner());
        self.ensure_voucher(&call, message).await.map(Answer::into_response)
    }

    async fn get_voucher(&self, request: Request<pb::GetVoucherRequest>) -> Result<Response<pb::Voucher>, Status> {
        let (call, message) = (Call::of(&request), request.into_inner());
        self.voucher(&call, message).await.map(Response::new)
    }

    async fn list_vouchers(&self, request: Request<pb::ListVouchersRequest>) -> Result<Response<pb::ListVouchersResponse>, Status> {
        let (call, message) = (Call::of(&request), request.into_inner());
        self.vouchers(&call, message).await.map(Response::new)
    }

    async fn check_voucher(&self, request: Request<pb::CheckVoucherRequest>) -> Result<Response<pb::BasketDiscount>, Status> {
        let (call, message) = (Call::of(&request), request.into_inner());
        self.check_voucher(&call, message).await.map(Response::new)
    }

    async fn use_voucher(&self, request: Request<pb::UseVoucherRequest>) -> Result<Response<pb::VoucherUse>, Status> {
        let (call, message) = (Call::of(&request), request.into_inner());
        self.use_voucher(&call, message).await.map(Answer::into_response)
    }

    async fn issue_offline_code(&self, request: Request<pb::IssueOfflineCodeRequest>) -> Result<Response<pb::OfflineCode>, Status> {
        self.offline_code(request.into_inner()).await.map(Response::new)
    }

    async fn list_voucher_keys(
        &self,
        request: Request<pb::ListVoucherKeysRequest>,
    ) -> Result<Response<pb::ListVoucherKeysResponse>, Status> {
        self.voucher_keys(request.into_inner()).await.map(Response::new)
    }

    async fn list_offline_uses(
        &self,
        request: Request<pb::ListOfflineUsesRequest>,
    ) -> Result<Response<pb::ListOfflineUsesResponse>, Status> {
        self.offline_uses(request.into_inner()).await.map(Response::new)
    }

    async fn void_voucher_use(&self, request: Request<pb::VoidVoucherUseRequest>) -> Result<Response<pb::Voucher>, Status> {
        let (call, message) = (Call::of(&request), request.into_inner());
        self.void_voucher_use(&call, message).await.map(Answer::into_response)
    }

    async fn revoke_voucher(&self, request: Request<pb::RevokeVoucherRequest>) -> Result<Response<pb::Voucher>, Status> {
        let (call, message) = (Call::of(&request), request.into_inner());
        self.revoke_voucher(&call, message).await.map(Answer::into_response)
    }
}
