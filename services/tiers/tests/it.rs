//! The tiers service over the wire, on both engines, behind a real points feed.

mod it {
    mod suite;

    mod earning;
    mod grants;
    mod history;
    mod jobs;
    mod roles;
    mod schemes;
}
