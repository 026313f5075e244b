use std::time::Duration;

use kernel::{ProgramId, Timestamp, Uuid};
use persistence::Purpose;
use proto::points as pb;
use rpc::status;
use rpc::wire::{Page, timestamp};
use tonic::Status;

use super::super::Rpcs;
use super::super::parse::parse_program;
use super::vouchers::parse_voucher;
use crate::domain::rewards::{Claim, OfflineCode, OfflineSigner, RewardRefusal};
use crate::domain::{MemberStatus, Refusal};
use crate::message::{self, rewards as told};
use crate::reward_error::RewardError;
use crate::store;

/// How long an offline code lives when nothing is said.
const LIFE: Duration = Duration::from_secs(86_400);

impl Rpcs {
    /// What signs the offline codes of a program; `None` when its key has been removed.
    fn offline_signer(&self, program: &ProgramId, version: u8) -> Option<OfflineSigner> {
        let seed = self.keyring.hash_at(version, Purpose::Signing, &format!("offline vouchers {program}"), b"ed25519")?;
        Some(OfflineSigner::of_seed(&seed, version))
    }

    /// What an offline code says that was signed here for the program.
    pub(super) fn claim(&self, program: &ProgramId, text: &str) -> Option<Claim> {
        let code = OfflineCode::parse(text)?;
        let signer = self.offline_signer(program, code.key_version())?;
        told::read_claim(code.verified(signer.public_key())?)
    }

    pub(super) async fn offline_code(&self, message: pb::IssueOfflineCodeRequest) -> Result<pb::OfflineCode, Status> {
        let (program, member, id) = parse_voucher("name", &message.name)?;
        let ttl = message.ttl.map(Duration::try_from).transpose().map_err(|_| status::bad_request([("ttl", "must be positive")]))?;
        let program = self.program(&program).await?;
        let now = self.now();
        let mut tx = self.database.read().await.map_err(status::from_store)?;
        let voucher = store::voucher(&mut tx, &program.id, id).await.map_err(status::from_store)?;
        drop(tx);
        let voucher = voucher.filter(|voucher| voucher.member == member).ok_or(RewardError::from(RewardRefusal::VoucherNotFound))?;
        let limit = told::issued_terms(&voucher).map_err(status::from_store)?.offline_limit;
        if limit == 0 {
            return Err(RewardError::OnlineOnly.into());
        }
        if let Some(obstacle) = voucher.obstacle(now) {
            return Err(RewardError::of(&[obstacle]).into());
        }
        let (_, survivor) = self.surviving(&program.id, member).await?;
        match survivor.facts.status {
            MemberStatus::Active => {}
            MemberStatus::Blocked => return Err(RewardError::from(Refusal::MemberBlocked).into()),
            MemberStatus::Closed => return Err(RewardError::from(Refusal::MemberClosed).into()),
        }
        let ends = now + ttl.unwrap_or(LIFE);
        let second = |moment: Timestamp| Timestamp::from_micros(moment.as_micros().div_euclid(1_000_000) * 1_000_000);
        let expires_at = second(voucher.expires_at.map_or(ends, |end| end.min(ends)));
        let claim = Claim { voucher: id, issued_at: second(now), expires_at };
        let key_version = self.keyring.version();
        let signer = self.offline_signer(&program.id, key_version).ok_or_else(status::internal)?;
        let said = told::offline_claim(&program.id, &voucher, &claim).map_err(status::from_store)?;
        Ok(pb::OfflineCode {
            voucher: message.name,
            code: signer.code(&said).ok_or(RewardError::OfflineCodeTooLong)?,
            issue_time: Some(timestamp(claim.issued_at)),
            expire_time: Some(timestamp(claim.expires_at)),
            limit: Some(message::money(&program, limit)),
            key_version: i32::from(key_version),
        })
    }

    pub(super) async fn voucher_keys(&self, message: pb::ListVoucherKeysRequest) -> Result<pb::ListVoucherKeysResponse, Status> {
        let program = self.program(&parse_program("parent", &message.parent)?).await?;
        let key = |version: u8| {
            let public_key = self.offline_signer(&program.id, version)?.public_key().to_vec();
            Some(pb::VoucherKey { key_version: i32::from(version), public_key })
        };
        Ok(pb::ListVoucherKeysResponse { keys: self.keyring.versions().filter_map(key).collect() })
    }

    pub(super) async fn offline_uses(&self, request: pb::ListOfflineUsesRequest) -> Result<pb::ListOfflineUsesResponse, Status> {
        let pb::ListOfflineUsesRequest { parent, losses_only, page_size, page_token } = request;
        let program = self.program(&parse_program("parent", &parent)?).await?;
        let filter = ["offline uses", &parent, if losses_only { "losses" } else { "all" }];
        let page = Page::<2>::parse(&filter, page_size, &page_token)?;
        let wrong = || status::bad_request([("page_token", "not a page token of this list")]);
        let before = match &page.after {
            Some([at, key]) => (Timestamp::from_micros(at.parse().map_err(|_| wrong())?), Uuid::parse_str(key).map_err(|_| wrong())?),
            None => (Timestamp::MAX, Uuid::max()),
        };
        let mut tx = self.database.read().await.map_err(status::from_store)?;
        let rows = store::offline_uses(&mut tx, &program.id, losses_only, before, page.limit()).await.map_err(status::from_store)?;
        let (loss_count, loss) = store::offline_losses(&mut tx, &program.id).await.map_err(status::from_store)?;
        let (rows, next_page_token) = page.cut(rows, |row| [row.recorded_at.as_micros().to_string(), row.told.key.to_string()]);
        let uses = rows.iter().map(|row| told::recorded_offline_use(&program, row)).collect();
        Ok(pb::ListOfflineUsesResponse { uses, next_page_token, loss_count, loss: Some(message::money(&program, loss)) })
    }
}
