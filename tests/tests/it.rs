//! What crosses services, over the wire: journeys on both engines, every RPC against its contract, feeds, personal data,
//! crashes, a deployment in parts, and a browser.

mod it {
    mod diary;
    mod leaks;
    mod process;
    mod raw;
    mod sample;
    mod suite;
    mod tea;

    mod blocked;
    mod browser;
    mod contracts;
    mod crash;
    mod crash_promotions;
    mod feeds;
    mod friend;
    mod gifts;
    mod privacy;
    mod program_file;
    mod proof;
    mod regular;
    mod status;
    mod survey;
}
