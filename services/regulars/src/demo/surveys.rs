//! The sender of the company, which the suite has not: it fetches what is due, and guests answer on the landing page.

use std::sync::Arc;

use proto::feedback::feedback_service_client::FeedbackServiceClient;
use proto::feedback::{
    GetNpsRequest, IssueInvitationTokenRequest, ListDueInvitationsRequest, SubmitResponseRequest, submit_response_request,
};
use proto::points::AdjustRequest;
use proto::points::points_service_client::PointsServiceClient;
use rand::RngExt;
use tonic::Status;

use super::board::Board;
use super::calls::{Calls, call};
use super::chain::{Chain, fresh};
use super::people;

const PAGE_SIZE: i32 = 200;
/// The share of those asked who answer.
const ANSWERS: f64 = 0.55;
/// A guest who gives less than this gets an apology in points.
const APOLOGY_BELOW: i32 = 4;
const APOLOGY_POINTS: i64 = 20;

/// Sends everything that is due and lets guests answer.
pub(super) async fn send_due(chain: &Arc<Chain>, calls: &Arc<Calls>, board: &Arc<Board>, seed: u64) -> Result<(), Status> {
    let platform = FeedbackServiceClient::new(chain.platform.clone());
    let landing_page = FeedbackServiceClient::new(chain.landing_page.clone());
    let mut dice = people::dice(seed);
    let request = ListDueInvitationsRequest { parent: chain.program.clone(), page_size: PAGE_SIZE, page_token: String::new() };
    // What was sent is due no longer, so the first page is always the next one.
    loop {
        let page = call!(calls, platform.list_due_invitations(request.clone())).await?.invitations;
        for invitation in &page {
            let request = IssueInvitationTokenRequest { name: invitation.name.clone(), request_id: fresh() };
            // A return may have ended the invitation meanwhile.
            let Ok(issued) = call!(calls, platform.issue_invitation_token(request)).await else { continue };
            if !dice.random_bool(ANSWERS) {
                continue;
            }
            let shop = chain.shops.iter().find(|shop| shop.resource == invitation.store);
            let score = people::score(shop.map_or(60, |shop| shop.charm), &mut dice);
            let request = SubmitResponseRequest {
                parent: chain.program.clone(),
                target: Some(submit_response_request::Target::Token(issued.token)),
                score: Some(score),
                comment: comment(score).to_owned(),
                request_id: fresh(),
            };
            if call!(calls, landing_page.submit_response(request)).await.is_ok() && score < APOLOGY_BELOW {
                apologise(chain, calls, board, &invitation.member, score).await;
            }
        }
        if page.len() < PAGE_SIZE as usize {
            return Ok(());
        }
    }
}

/// Support gives a few points, with a reason and an approver.
async fn apologise(chain: &Chain, calls: &Calls, board: &Board, member: &str, score: i32) {
    let support = PointsServiceClient::new(chain.support.clone());
    let request = AdjustRequest {
        member: member.to_owned(),
        points: APOLOGY_POINTS,
        wallet: String::new(),
        reason: "apology for a visit".to_owned(),
        approver: "S-100".to_owned(),
        request_id: fresh(),
    };
    if call!(calls, support.adjust(request)).await.is_ok() {
        board.tell(format!("      support      a guest gave {score} of 10: {APOLOGY_POINTS} points with an apology"));
    }
}

fn comment(score: i32) -> &'static str {
    match score {
        9.. => "",
        7..=8 => "Good tea, long queue.",
        _ => "I waited too long.",
    }
}

/// Reads the score as it is now.
pub(super) async fn read_score(chain: &Chain, calls: &Calls, board: &Board) -> Result<(), Status> {
    let platform = FeedbackServiceClient::new(chain.platform.clone());
    let request = GetNpsRequest { survey: chain.survey.clone(), start_time: None, end_time: None, store: String::new() };
    board.score(&call!(calls, platform.get_nps(request)).await?);
    Ok(())
}
