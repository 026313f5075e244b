//! The points service over the wire, on both engines, behind real feeds of members and tiers.

mod it {
    mod requests;
    mod suite;

    mod awards;
    mod books;
    mod due;
    mod events;
    mod facts;
    mod input;
    mod limits;
    mod memory;
    mod previews;
    mod programs;
    mod races;
    mod reads;
    mod replicas;
    mod returns;
    mod rewards;
    mod roles;
    mod specification;
    mod spending;
}
