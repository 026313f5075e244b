use std::time::Duration;

use kernel::{CalendarUnit, Currency, Money, Period, ProgramId};
use persistence::{DbTime, Error, Tx, on_engine};

use super::{corrupt, program_id, written};
use crate::domain::{AfterPurchase, Kind, Survey, SurveyState};

#[derive(sqlx::FromRow)]
struct SurveyRow {
    program_id: String,
    survey_id: String,
    kind: String,
    display_name: String,
    question: String,
    state: String,
    delay_count: i64,
    delay_unit: String,
    minimum_currency: Option<String>,
    minimum_minor: Option<i64>,
    channels: String,
    stores: String,
    expire_count: i64,
    expire_unit: String,
    recontact_days: i64,
    sampling_percent: i64,
    edit_window_ms: i64,
    create_time: DbTime,
    update_time: DbTime,
    version: i64,
}

/// A query for whole surveys; what follows FROM is given.
macro_rules! select_surveys {
    ($($tail:tt)+) => {
        sqlx::query_as::<_, SurveyRow>(concat!(
            "SELECT program_id, survey_id, kind, display_name, question, state, delay_count, delay_unit, minimum_currency,
                    minimum_minor, channels, stores, expire_count, expire_unit, recontact_days, sampling_percent,
                    edit_window_ms, create_time, update_time, version
               FROM surveys ",
            $($tail)+
        ))
    };
}

/// Writes a new survey. An id that is taken is [`Error::Unique`].
pub(crate) async fn insert_survey(tx: &mut Tx, survey: &Survey) -> Result<(), Error> {
    let row = SurveyRow::from(survey);
    on_engine!(tx, |conn| sqlx::query(
        "INSERT INTO surveys (program_id, survey_id, kind, display_name, question, state, delay_count, delay_unit,
                              minimum_currency, minimum_minor, channels, stores, expire_count, expire_unit, recontact_days,
                              sampling_percent, edit_window_ms, create_time, update_time, version)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)",
    )
    .bind(row.program_id)
    .bind(row.survey_id)
    .bind(row.kind)
    .bind(row.display_name)
    .bind(row.question)
    .bind(row.state)
    .bind(row.delay_count)
    .bind(row.delay_unit)
    .bind(row.minimum_currency)
    .bind(row.minimum_minor)
    .bind(row.channels)
    .bind(row.stores)
    .bind(row.expire_count)
    .bind(row.expire_unit)
    .bind(row.recontact_days)
    .bind(row.sampling_percent)
    .bind(row.edit_window_ms)
    .bind(row.create_time)
    .bind(row.update_time)
    .bind(row.version)
    .execute(conn)
    .await
    .map(|_| ()))?;
    Ok(())
}

/// Writes the state of a survey that was read at the version before. A row changed since then is [`Error::Conflict`].
pub(crate) async fn update_survey_state(tx: &mut Tx, survey: &Survey) -> Result<(), Error> {
    let rows = on_engine!(tx, |conn| sqlx::query(
        "UPDATE surveys SET state = $3, update_time = $4, version = $5
          WHERE program_id = $1 AND survey_id = $2 AND version = $5 - 1",
    )
    .bind(survey.program.as_str())
    .bind(&survey.id)
    .bind(survey.state.word())
    .bind(DbTime(survey.update_time))
    .bind(survey.version)
    .execute(conn)
    .await
    .map(|done| done.rows_affected()))?;
    written(rows)
}

/// A survey by its id.
pub(crate) async fn survey(tx: &mut Tx, program: &ProgramId, id: &str) -> Result<Option<Survey>, Error> {
    let row = on_engine!(tx, |conn| select_surveys!("WHERE program_id = $1 AND survey_id = $2")
        .bind(program.as_str())
        .bind(id)
        .fetch_optional(conn)
        .await)?;
    row.map(Survey::try_from).transpose()
}

/// Surveys of a program by id, after an id.
pub(crate) async fn surveys(tx: &mut Tx, program: &ProgramId, after: &str, limit: i64) -> Result<Vec<Survey>, Error> {
    let rows = on_engine!(tx, |conn| select_surveys!("WHERE program_id = $1 AND survey_id > $2 ORDER BY survey_id LIMIT $3")
        .bind(program.as_str())
        .bind(after)
        .bind(limit)
        .fetch_all(conn)
        .await)?;
    rows.into_iter().map(Survey::try_from).collect()
}

/// The surveys of a program that ask now, by id.
pub(crate) async fn active_surveys(tx: &mut Tx, program: &ProgramId) -> Result<Vec<Survey>, Error> {
    let rows = on_engine!(tx, |conn| select_surveys!("WHERE program_id = $1 AND state = 'ACTIVE' ORDER BY survey_id")
        .bind(program.as_str())
        .fetch_all(conn)
        .await)?;
    rows.into_iter().map(Survey::try_from).collect()
}

impl From<&Survey> for SurveyRow {
    fn from(survey: &Survey) -> SurveyRow {
        let Survey {
            program,
            id,
            kind,
            display_name,
            question,
            state,
            trigger: AfterPurchase { delay, minimum_net, channels, stores },
            expire_after,
            recontact_days,
            sampling_percent,
            edit_window,
            create_time,
            update_time,
            version,
        } = survey;
        SurveyRow {
            program_id: program.as_str().to_owned(),
            survey_id: id.clone(),
            kind: kind.word().to_owned(),
            display_name: display_name.clone(),
            question: question.clone(),
            state: state.word().to_owned(),
            delay_count: delay.count.into(),
            delay_unit: unit_word(delay.unit).to_owned(),
            minimum_currency: minimum_net.map(|net| net.currency.to_string()),
            minimum_minor: minimum_net.map(|net| net.minor),
            channels: channels.join("\n"),
            stores: stores.join("\n"),
            expire_count: expire_after.count.into(),
            expire_unit: unit_word(expire_after.unit).to_owned(),
            recontact_days: (*recontact_days).into(),
            sampling_percent: (*sampling_percent).into(),
            edit_window_ms: i64::try_from(edit_window.as_millis()).unwrap_or(i64::MAX),
            create_time: DbTime(*create_time),
            update_time: DbTime(*update_time),
            version: *version,
        }
    }
}

impl TryFrom<SurveyRow> for Survey {
    type Error = Error;

    fn try_from(row: SurveyRow) -> Result<Survey, Error> {
        let minimum_net = match (row.minimum_currency, row.minimum_minor) {
            (Some(code), Some(minor)) => Some(Money { currency: Currency::parse(&code).map_err(|_| corrupt("minimum_currency"))?, minor }),
            (None, None) => None,
            _ => return Err(corrupt("minimum_minor")),
        };
        Ok(Survey {
            program: program_id(&row.program_id)?,
            id: row.survey_id,
            kind: Kind::ALL.into_iter().find(|kind| kind.word() == row.kind).ok_or_else(|| corrupt("kind"))?,
            display_name: row.display_name,
            question: row.question,
            state: SurveyState::ALL.into_iter().find(|state| state.word() == row.state).ok_or_else(|| corrupt("state"))?,
            trigger: AfterPurchase {
                delay: period(row.delay_count, &row.delay_unit)?,
                minimum_net,
                channels: row.channels.lines().map(str::to_owned).collect(),
                stores: row.stores.lines().map(str::to_owned).collect(),
            },
            expire_after: period(row.expire_count, &row.expire_unit)?,
            recontact_days: u32::try_from(row.recontact_days).map_err(|_| corrupt("recontact_days"))?,
            sampling_percent: u32::try_from(row.sampling_percent).map_err(|_| corrupt("sampling_percent"))?,
            edit_window: Duration::from_millis(u64::try_from(row.edit_window_ms).map_err(|_| corrupt("edit_window_ms"))?),
            create_time: row.create_time.into(),
            update_time: row.update_time.into(),
            version: row.version,
        })
    }
}

const UNITS: [CalendarUnit; 4] = [CalendarUnit::Day, CalendarUnit::Week, CalendarUnit::Month, CalendarUnit::Year];

fn unit_word(unit: CalendarUnit) -> &'static str {
    match unit {
        CalendarUnit::Day => "DAY",
        CalendarUnit::Week => "WEEK",
        CalendarUnit::Month => "MONTH",
        CalendarUnit::Year => "YEAR",
    }
}

fn period(count: i64, word: &str) -> Result<Period, Error> {
    let count = i32::try_from(count).map_err(|_| corrupt("count of a period"))?;
    let unit = UNITS.into_iter().find(|unit| unit_word(*unit) == word).ok_or_else(|| corrupt("unit of a period"))?;
    Ok(Period { count, unit })
}
