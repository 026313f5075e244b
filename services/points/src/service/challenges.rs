//! How far members have come with ladders and streaks.

use proto::points as pb;
use rpc::wire::Page;
use tonic::Status;

use super::Rpcs;
use super::parse::parse_member;
use crate::domain::Challenge;
use crate::error;
use crate::message;

impl Rpcs {
    pub(super) async fn member_challenges(
        &self,
        message: pb::ListMemberChallengesRequest,
    ) -> Result<pb::ListMemberChallengesResponse, Status> {
        let pb::ListMemberChallengesRequest { parent, page_size, page_token } = message;
        let (program, member) = parse_member("parent", &parent)?;
        let program = self.program(&program).await?;
        let versions = program.versions.as_ref().ok_or_else(|| error::version_missing(&program.id))?;
        let filter = ["challenges", &parent];
        let page = Page::<1>::parse(&filter, page_size, &page_token)?;
        let after = page.after.as_ref().map(|[id]| id.as_str());
        let (_, held) = self.surviving(&program.id, member).await?;
        let now = self.now();
        let version = versions.at(now);
        let mut running: Vec<&Challenge> = version.terms.challenges.iter().filter(|challenge| challenge.is_running(now)).collect();
        running.sort_unstable_by_key(|challenge| &challenge.id);
        running.retain(|challenge| after.is_none_or(|after| *challenge.id > *after));
        let (running, next_page_token) = page.cut(running, |challenge| [challenge.id.to_string()]);
        let progress = |challenge: &Challenge| held.account.challenge_progress(challenge, version, now);
        Ok(pb::ListMemberChallengesResponse {
            challenges: running.into_iter().map(|challenge| message::challenges::progress(&program.id, &progress(challenge))).collect(),
            next_page_token,
        })
    }
}
