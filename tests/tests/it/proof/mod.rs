//! Proof that the ledger does what its contracts say, by a model that is independent of it.
//!
//! `calls` is what can be asked, `workload` what clients do ask by a seed, `history` what they were answered, `model` what they must
//! be answered, `checker` the search for an order in which both agree, `coverage` whether everything happened, `conservation` whether
//! the books add up by themselves. `oracle` runs them against servers in this process, `faults` against processes that are killed and
//! databases that are cut off.

mod calls;
mod checker;
mod conservation;
mod coverage;
mod faults;
mod history;
mod model;
mod oracle;
mod postgres;
mod proxy;
mod workload;

use proto::directory::CreateProgramRequest;
use proto::directory::directory_service_client::DirectoryServiceClient;
use proto::points::CreateProgramVersionRequest;
use proto::points::points_service_client::PointsServiceClient;

use super::suite::{TEA, Wire};
use model::{Rules, time};

pub(super) use faults::{clock_file, serve};

/// Makes the program under the terms of a plan.
async fn make_program(administrator: Wire, rules: &[Rules]) {
    let program = CreateProgramRequest {
        program_id: "tea".to_owned(),
        display_name: "Tea".to_owned(),
        time_zone: "Asia/Shanghai".to_owned(),
        currency_code: "CNY".to_owned(),
        request_id: "program".to_owned(),
    };
    DirectoryServiceClient::new(administrator.clone()).create_program(program).await.unwrap();
    let mut points = PointsServiceClient::new(administrator);
    for version in rules {
        let request = CreateProgramVersionRequest {
            parent: TEA.to_owned(),
            terms: Some(version.terms()),
            start_time: Some(time(version.start)),
            draft: false,
            request_id: format!("version-{}", version.number),
        };
        points.create_program_version(request).await.unwrap();
    }
}

/// The seeds to run and the steps of each client: `REGULARS_TEST_SEED` runs one seed, `REGULARS_TEST_LONG` many larger ones.
fn seeds(count: u64, steps: usize) -> (Vec<u64>, usize) {
    match (std::env::var("REGULARS_TEST_SEED"), std::env::var("REGULARS_TEST_LONG")) {
        (Ok(seed), long) => {
            let seed: u64 = seed.parse().expect("REGULARS_TEST_SEED is a number");
            (vec![seed], if long.is_ok() { 4 * steps } else { steps })
        }
        (Err(_), Ok(_)) => ((0..5 * count).collect(), 4 * steps),
        (Err(_), Err(_)) => ((0..count).collect(), steps),
    }
}
