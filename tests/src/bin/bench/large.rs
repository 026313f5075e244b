//! Awards and balances in a database with a long history beside those in a small one.
//!
//! The history is made of a template: one member gets his entries through the suite, and then his rows are copied in the database,
//! under the keys of other members. So everything that the suite reads and indexes is there in its true width and order. Events are
//! not copied: they are dropped after a while anyway, and awards never read them.

use std::fmt::Write;
use std::time::Instant;

use anyhow::ensure;
use kernel::{MemberId, ProgramId, Uuid};
use points::domain::AccountId;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::calls::{Call, Members, PROGRAM};
use crate::cpu::Meter;
use crate::load::Load;
use crate::report::{Goal, Report};
use crate::sample::Sample;
use crate::suite::Suite;
use crate::{Bench, DATABASE};

const CALLERS: usize = 256;

/// Members of the small database, with an entry each.
const FEW: u64 = 10_000;

/// Rows of a message of COPY.
const ROWS_PER_COPY: usize = 10_000;

/// Faster writing for this connection alone. What it writes is on disk before anything is measured, by a checkpoint.
const SETTINGS: &str = "SET synchronous_commit = off; SET work_mem = '512MB'; SET jit = off; SET search_path = points";

pub(crate) async fn measure(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let (entries, members) = (bench.options.entries, bench.options.members);
    let each = entries / members.max(1);
    ensure!(each > 0, "there must be at least as many entries as members");

    report.heading(&format!("Large: {CALLERS} callers, a database of {FEW} members with an entry each"));
    let suite = bench.suite().await?;
    let few = Members::new(PROGRAM, 0, FEW);
    Load::of_all(&suite, 1024).run(move |call| Some(Call::award(few.in_turn(call, 1)?, 2933))).await?;
    let small = both(bench, report, &suite, few, None).await?;
    drop(suite);

    let suite = bench.suite().await?;
    let template = Members::new(PROGRAM, 1, 1);
    Load::of_all(&suite, 1).run(move |call| Some(Call::award(template.in_turn(call, each)?, 2933))).await?;
    let started = Instant::now();
    let many = Members::new(PROGRAM, 2, members);
    let mut connection = bench.database.connect(DATABASE).await?;
    seed(&mut connection, template, many, each).await?;
    connection.close().await?;
    report.heading(&format!(
        "Large: {CALLERS} callers, a database of {members} members with {each} entries each, seeded in {} s",
        started.elapsed().as_secs()
    ));
    let large = both(bench, report, &suite, many, Some(&small)).await?;
    for (what, small, large) in [("awards", &small.0, &large.0), ("balances", &small.1, &large.1)] {
        let what = format!("{what}: time per call with {} entries against a small database", each * members);
        report.goal(what, small.rate() / large.rate(), Goal::AtMost(1.5));
    }
    Ok(())
}

/// Awards, then balances. The warm-up is long: after the checkpoint the first write to each page takes the whole page into the log.
async fn both(
    bench: &Bench,
    report: &Report,
    suite: &Suite,
    members: Members,
    small: Option<&(Sample, Sample)>,
) -> anyhow::Result<(Sample, Sample)> {
    let meter = Meter::of_both(suite.pid(), &bench.database).await?;
    let load = Load { warmup: bench.warmup() * 5, ..bench.load(suite, CALLERS, &meter) };
    let times = |small: Option<&Sample>, sample: &Sample| {
        small.map_or(String::new(), |small| format!("time per call {:.2} × the small one's", small.rate() / sample.rate()))
    };
    let award = load.run(move |call| Some(Call::award(members.spread(call), 2933))).await?;
    report.row("award", &award, &times(small.map(|small| &small.0), &award));
    let balance = load.run(move |call| Some(Call::balance(members.spread(call)))).await?;
    report.row("balance", &balance, &times(small.map(|small| &small.1), &balance));
    Ok((award, balance))
}

/// Copies the template's rows to each member.
async fn seed(connection: &mut PgConnection, template: Members, members: Members, each: u64) -> anyhow::Result<()> {
    connection.execute(SETTINGS).await?;
    copy_members(connection, members).await?;
    let owner = account(template, 0)?.0;
    // Rows are written in the order of their keys, which are hashes: so the indexes grow at their end, and fast.
    let accounts = copied(connection, "accounts", &[("account_id", "seed.account_id"), ("member", "seed.member")]).await?;
    let entries = copied(connection, "entries", &[("account_id", "seed.account_id"), ("operation", "seed.operation")]).await?;
    let operations = copied(connection, "operations", &[("operation_id", "seed.operation")]).await?;
    let purchase_keys = [("purchase_key", "seed.purchase"), ("account_id", "seed.account_id"), ("operation", "seed.operation")];
    let purchases = copied(connection, "purchases", &purchase_keys).await?;
    let steps = [
        format!("CREATE TEMP TABLE template_accounts AS SELECT * FROM accounts WHERE account_id = '{owner}'"),
        format!("CREATE TEMP TABLE template_entries AS SELECT * FROM entries WHERE account_id = '{owner}'"),
        "CREATE TEMP TABLE template_operations AS
             SELECT t.version, o.* FROM template_entries t JOIN operations o ON o.operation_id = t.operation"
            .to_owned(),
        "CREATE TEMP TABLE template_purchases AS
             SELECT t.version, p.* FROM template_entries t JOIN purchases p ON p.operation = t.operation"
            .to_owned(),
        format!(
            "CREATE UNLOGGED TABLE seed_entries AS
             SELECT account_id, version, gen_random_uuid() AS operation, gen_random_uuid() AS purchase
               FROM seed_members, generate_series(1, {each}) AS version"
        ),
        "ANALYZE template_accounts, template_entries, template_operations, template_purchases, seed_members, seed_entries".to_owned(),
        format!("{accounts} FROM seed_members seed, template_accounts t"),
        format!("{entries} FROM seed_entries seed JOIN template_entries t USING (version)"),
        format!("{operations} FROM (SELECT * FROM seed_entries ORDER BY operation) seed JOIN template_operations t USING (version)"),
        format!("{purchases} FROM (SELECT * FROM seed_entries ORDER BY purchase) seed JOIN template_purchases t USING (version)"),
        "DROP TABLE seed_members, seed_entries".to_owned(),
        "VACUUM (ANALYZE) accounts, entries, operations, purchases".to_owned(),
        "CHECKPOINT".to_owned(),
    ];
    for step in steps {
        connection.execute(AssertSqlSafe(step)).await?;
    }
    let counted: i64 = sqlx::query_scalar("SELECT count(*) FROM entries").fetch_one(&mut *connection).await?;
    ensure!(counted.unsigned_abs() >= each * members.count(), "{counted} entries were seeded where {each} for each member were meant");
    Ok(())
}

/// Hands the members' ids to the database, in the order of their accounts.
async fn copy_members(connection: &mut PgConnection, members: Members) -> anyhow::Result<()> {
    let keys = (0..members.count()).map(|number| Ok((account(members, number)?, members.id(number))));
    let mut keys: Vec<(AccountId, Uuid)> = keys.collect::<anyhow::Result<_>>()?;
    keys.sort_unstable();
    connection.execute("CREATE UNLOGGED TABLE seed_members (account_id uuid NOT NULL, member uuid NOT NULL)").await?;
    let mut copy = connection.copy_in_raw("COPY seed_members FROM STDIN (FORMAT csv)").await?;
    for rows in keys.chunks(ROWS_PER_COPY) {
        let mut text = String::new();
        for (account, member) in rows {
            writeln!(text, "{},{member}", account.0)?;
        }
        copy.send(text.into_bytes()).await?;
    }
    copy.finish().await?;
    Ok(())
}

/// The beginning of a statement that copies rows of a template `t`, whatever columns the table has, under other keys.
async fn copied(connection: &mut PgConnection, table: &str, keys: &[(&str, &str)]) -> anyhow::Result<String> {
    const SQL: &str = "SELECT column_name::text FROM information_schema.columns WHERE table_schema = 'points' AND table_name = $1";
    let columns: Vec<String> = sqlx::query_scalar(SQL).bind(table).fetch_all(&mut *connection).await?;
    ensure!(keys.iter().all(|(key, _)| columns.iter().any(|column| column == key)), "{table} lacks a key that was to be replaced");
    let value = |column: &String| {
        let replaced = keys.iter().find(|(key, _)| key == column);
        replaced.map_or_else(|| format!("t.{column}"), |(_, other)| (*other).to_owned())
    };
    let values: Vec<String> = columns.iter().map(value).collect();
    Ok(format!("INSERT INTO {table} ({}) SELECT {}", columns.join(", "), values.join(", ")))
}

fn account(members: Members, number: u64) -> anyhow::Result<AccountId> {
    let program = ProgramId::parse(PROGRAM.trim_start_matches("programs/"))?;
    Ok(AccountId::of(&program, MemberId(members.id(number))))
}
