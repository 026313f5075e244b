//! The points service over the wire, on both engines, behind real feeds of members and tiers.

mod it {
    mod requests;
    mod suite;

    mod activities;
    mod as_of;
    mod awards;
    mod books;
    mod budgets;
    mod challenges;
    mod changed_challenges;
    mod conditions;
    mod due;
    mod events;
    mod everything;
    mod expiry;
    mod facts;
    mod input;
    mod input_terms;
    mod limits;
    mod memory;
    mod merged_names;
    mod merges;
    mod paid_with_points;
    mod pending;
    mod pools;
    mod previews;
    mod programs;
    mod promotions;
    mod races;
    mod rates;
    mod reads;
    mod refunds;
    mod reminders;
    mod replicas;
    mod returns;
    mod rewards;
    mod rewards_catalogue;
    mod rewards_input;
    mod rewards_offline;
    mod rewards_races;
    mod rewards_redeem;
    mod rewards_requests;
    mod rewards_roles;
    mod rewards_vouchers;
    mod rewards_wishes;
    mod roles;
    mod simulations;
    mod specification;
    mod spending;
    mod statements;
    mod transfers;
    mod transport;
    mod versions;
    mod wallets;
}
