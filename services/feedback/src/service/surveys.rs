use std::time::Duration;

use kernel::{CalendarUnit, Currency, Money, Period, ProgramId, Timestamp};
use persistence::Error as StoreError;
use prost::{Message, Name};
use proto::check::Checked;
use proto::common;
use proto::feedback as pb;
use rpc::Answer;
use rpc::wire::{Page, timestamp};
use tonic::Status;

use super::{Rpcs, child_name, program_name};
use crate::Error;
use crate::domain::{AfterPurchase, Kind, LOW_SAMPLE_BELOW, Refusal, Survey, SurveyState, Tally, VISIBLE_FROM};
use crate::store;

const DELAY: Period = Period { count: 3, unit: CalendarUnit::Day };
const EXPIRE_AFTER: Period = Period { count: 14, unit: CalendarUnit::Day };
const RECONTACT_DAYS: i32 = 30;
const SAMPLING_PERCENT: i32 = 100;
const EDIT_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

impl Rpcs {
    /// The survey that a request asks for, with the defaults that the contract names.
    pub(super) async fn new_survey(&self, message: &pb::CreateSurveyRequest) -> Result<Survey, Error> {
        let pb::CreateSurveyRequest { parent, survey_id, survey, request_id: _ } = message;
        let id = program_name("parent", parent)?;
        let program = self.directory.program(&id).await?.ok_or(Error::ProgramNotFound)?;
        let survey = survey.as_ref().ok_or_else(|| Error::invalid("survey", "must be set"))?;
        let pb::Survey {
            name: _,
            kind,
            display_name,
            question,
            state: _,
            trigger,
            expire_after,
            recontact_days,
            sampling_percent,
            edit_window,
            create_time: _,
            update_time: _,
        } = survey;
        let Some(pb::survey::Trigger::AfterPurchase(trigger)) = trigger else {
            return Err(Error::invalid("survey.trigger", "must be set"));
        };
        let now = self.context.now();
        Ok(Survey {
            program: id,
            id: survey_id.clone(),
            kind: kind_from(*kind)?,
            display_name: display_name.clone(),
            question: question.clone(),
            state: SurveyState::Draft,
            trigger: trigger_from(trigger, program.currency)?,
            expire_after: period_from("survey.expire_after", expire_after.as_ref(), EXPIRE_AFTER)?,
            recontact_days: unsigned("survey.recontact_days", recontact_days.unwrap_or(RECONTACT_DAYS))?,
            sampling_percent: unsigned("survey.sampling_percent", sampling_percent.unwrap_or(SAMPLING_PERCENT))?,
            edit_window: duration_from(edit_window.as_ref())?,
            create_time: now,
            update_time: now,
            version: 1,
        })
    }

    /// One attempt is one transaction.
    pub(super) async fn try_create_survey(&self, message: &pb::CreateSurveyRequest, survey: &Survey) -> Result<Answer<pb::Survey>, Error> {
        let key = self.request_key(&survey.program, &message.request_id, message);
        let mut tx = self.database.begin().await?;
        if let Some(first) = tx.remembered(&key).await? {
            return Ok(Answer::replay(first.message(None)?));
        }
        store::insert_survey(&mut tx, survey).await.map_err(|error| match error {
            StoreError::Unique { .. } => Error::SurveyExists,
            other => Error::Store(other),
        })?;
        let answer = pb::Survey::from(survey);
        tx.remember(&key, &answer.encode_to_vec(), None, None, survey.create_time).await?;
        tx.commit().await?;
        Ok(Answer::first(answer))
    }

    /// One attempt is one transaction.
    pub(super) async fn try_activate_survey(&self, message: &pb::ActivateSurveyRequest) -> Result<Answer<pb::Survey>, Error> {
        let pb::ActivateSurveyRequest { name, request_id } = message;
        self.try_move_survey(name, request_id, message, |survey, now| Ok(survey.activate(now))).await
    }

    /// One attempt is one transaction.
    pub(super) async fn try_pause_survey(&self, message: &pb::PauseSurveyRequest) -> Result<Answer<pb::Survey>, Error> {
        let pb::PauseSurveyRequest { name, request_id } = message;
        self.try_move_survey(name, request_id, message, Survey::pause).await
    }

    async fn try_move_survey<M: Message + Name + Checked>(
        &self,
        name: &str,
        request_id: &str,
        message: &M,
        step: fn(Survey, Timestamp) -> Result<Option<Survey>, Refusal>,
    ) -> Result<Answer<pb::Survey>, Error> {
        let (program, id) = survey_name("name", name)?;
        let key = self.request_key(&program, request_id, message);
        let now = self.context.now();
        let mut tx = self.database.begin().await?;
        if let Some(first) = tx.remembered(&key).await? {
            return Ok(Answer::replay(first.message(None)?));
        }
        let before = store::survey(&mut tx, &program, &id).await?.ok_or(Error::SurveyNotFound)?;
        let answer = match step(before.clone(), now)? {
            Some(after) => {
                store::update_survey_state(&mut tx, &after).await?;
                pb::Survey::from(&after)
            }
            None => pb::Survey::from(&before),
        };
        tx.remember(&key, &answer.encode_to_vec(), None, None, now).await?;
        tx.commit().await?;
        Ok(Answer::first(answer))
    }

    pub(super) async fn surveys(&self, message: &pb::ListSurveysRequest) -> Result<pb::ListSurveysResponse, Status> {
        let pb::ListSurveysRequest { parent, page_size, page_token } = message;
        let program = program_name("parent", parent)?;
        let filter = ["surveys", parent];
        let page: Page<'_, 1> = Page::parse(&filter, *page_size, page_token)?;
        let after = page.after.as_ref().map_or("", |[after]| after.as_str());
        let mut tx = self.read().await?;
        let surveys = store::surveys(&mut tx, &program, after, page.limit()).await.map_err(Error::from)?;
        let (surveys, next_page_token) = page.cut(surveys, |survey| [survey.id.clone()]);
        Ok(pb::ListSurveysResponse { surveys: surveys.iter().map(pb::Survey::from).collect(), next_page_token })
    }

    /// The figures of a survey; all absent while they would tell who answered what.
    pub(super) async fn nps(&self, message: &pb::GetNpsRequest) -> Result<pb::GetNpsResponse, Status> {
        let pb::GetNpsRequest { survey, start_time, end_time, store } = message;
        let (program, id) = survey_name("survey", survey)?;
        let moment = |field, value: &Option<_>, open| value.as_ref().map_or(Ok(open), |value| rpc::wire::moment(field, value));
        // Nothing was answered before 1970.
        let range = (moment("start_time", start_time, Timestamp::default())?, moment("end_time", end_time, Timestamp::MAX)?);
        if range.1 < range.0 {
            return Err(Error::invalid("end_time", "must not be before start_time").into());
        }
        let store = if store.is_empty() { String::new() } else { child_name("store", store, STORE)?.1 };
        let mut tx = self.read().await?;
        let survey = store::survey(&mut tx, &program, &id).await.map_err(Error::from)?.ok_or(Error::SurveyNotFound)?;
        let tally = Tally::of(store::scores(&mut tx, &survey, range, &store).await.map_err(Error::from)?);
        if tally.total() < VISIBLE_FROM {
            let flags = vec![pb::SampleFlag::LowSample.into(), pb::SampleFlag::Hidden.into()];
            return Ok(pb::GetNpsResponse { flags, ..pb::GetNpsResponse::default() });
        }
        let (delivered, completed) = store::delivered_and_completed(&mut tx, &survey, range, &store).await.map_err(Error::from)?;
        let interval = tally.interval();
        Ok(pb::GetNpsResponse {
            promoter_count: Some(tally.promoters),
            passive_count: Some(tally.passives),
            detractor_count: Some(tally.detractors),
            response_count: Some(tally.total()),
            nps: tally.nps(),
            interval_low: interval.map(|interval| interval.low),
            interval_high: interval.map(|interval| interval.high),
            delivered_count: Some(delivered),
            completed_count: Some(completed),
            response_rate: (delivered > 0).then(|| completed as f64 / delivered as f64),
            flags: if tally.total() < LOW_SAMPLE_BELOW { vec![pb::SampleFlag::LowSample.into()] } else { Vec::new() },
        })
    }
}

const SURVEY: &str = "programs/{program}/surveys/{survey}";
const STORE: &str = "programs/{program}/stores/{store}";

/// Program and id of a survey.
pub(super) fn survey_name(field: &'static str, text: &str) -> Result<(ProgramId, String), Error> {
    child_name(field, text, SURVEY)
}

fn kind_from(number: i32) -> Result<Kind, Error> {
    match pb::survey::Kind::try_from(number) {
        Ok(pb::survey::Kind::Nps) => Ok(Kind::Nps),
        Ok(pb::survey::Kind::Unspecified) | Err(_) => Err(Error::invalid("survey.kind", "must be KIND_NPS")),
    }
}

fn trigger_from(trigger: &pb::AfterPurchase, currency: Currency) -> Result<AfterPurchase, Error> {
    let pb::AfterPurchase { delay, minimum_net, channels, stores } = trigger;
    let store_id = |name: &String| Ok(child_name("survey.after_purchase.stores", name, STORE)?.1);
    Ok(AfterPurchase {
        delay: period_from("survey.after_purchase.delay", delay.as_ref(), DELAY)?,
        minimum_net: minimum_net.as_ref().map(|net| minimum_from(net, currency)).transpose()?,
        channels: channels.clone(),
        stores: stores.iter().map(store_id).collect::<Result<_, Error>>()?,
    })
}

fn minimum_from(net: &common::Money, currency: Currency) -> Result<Money, Error> {
    let common::Money { currency_code, minor_units } = net;
    if currency_code != currency.as_str() {
        return Err(Error::invalid("survey.after_purchase.minimum_net.currency_code", format!("must be {currency}, the program's")));
    }
    if *minor_units < 0 {
        return Err(Error::invalid("survey.after_purchase.minimum_net.minor_units", "must not be negative"));
    }
    Ok(Money { currency, minor: *minor_units })
}

fn period_from(field: &'static str, period: Option<&common::CalendarPeriod>, default: Period) -> Result<Period, Error> {
    let Some(common::CalendarPeriod { count, unit }) = period else { return Ok(default) };
    use common::calendar_period::Unit;
    let unit = match Unit::try_from(*unit) {
        Ok(Unit::Day) => CalendarUnit::Day,
        Ok(Unit::Week) => CalendarUnit::Week,
        Ok(Unit::Month) => CalendarUnit::Month,
        Ok(Unit::Year) => CalendarUnit::Year,
        Ok(Unit::Unspecified) | Err(_) => return Err(Error::invalid(field, "must have a unit")),
    };
    Ok(Period { count: *count, unit })
}

fn period_to(period: Period) -> common::CalendarPeriod {
    use common::calendar_period::Unit;
    let unit = match period.unit {
        CalendarUnit::Day => Unit::Day,
        CalendarUnit::Week => Unit::Week,
        CalendarUnit::Month => Unit::Month,
        CalendarUnit::Year => Unit::Year,
    };
    common::CalendarPeriod { count: period.count, unit: unit.into() }
}

/// Whole milliseconds: that is what is stored.
fn duration_from(window: Option<&prost_types::Duration>) -> Result<Duration, Error> {
    let Some(window) = window else { return Ok(EDIT_WINDOW) };
    let span = Duration::try_from(*window).map_err(|_| Error::invalid("survey.edit_window", "must not be negative"))?;
    if span.subsec_nanos() % 1_000_000 == 0 { Ok(span) } else { Err(Error::invalid("survey.edit_window", "must be whole milliseconds")) }
}

fn unsigned(field: &'static str, value: i32) -> Result<u32, Error> {
    u32::try_from(value).map_err(|_| Error::invalid(field, "must not be negative"))
}

impl From<&Survey> for pb::Survey {
    fn from(survey: &Survey) -> pb::Survey {
        let Survey {
            program,
            id: _,
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
            version: _,
        } = survey;
        let kind = match kind {
            Kind::Nps => pb::survey::Kind::Nps,
        };
        let state = match state {
            SurveyState::Draft => pb::survey::State::Draft,
            SurveyState::Active => pb::survey::State::Active,
            SurveyState::Paused => pb::survey::State::Paused,
        };
        let trigger = pb::AfterPurchase {
            delay: Some(period_to(*delay)),
            minimum_net: minimum_net.map(|net| common::Money { currency_code: net.currency.to_string(), minor_units: net.minor }),
            channels: channels.clone(),
            stores: stores.iter().map(|store| format!("programs/{program}/stores/{store}")).collect(),
        };
        pb::Survey {
            name: survey.name(),
            kind: kind.into(),
            display_name: display_name.clone(),
            question: question.clone(),
            state: state.into(),
            trigger: Some(pb::survey::Trigger::AfterPurchase(trigger)),
            expire_after: Some(period_to(*expire_after)),
            recontact_days: i32::try_from(*recontact_days).ok(),
            sampling_percent: i32::try_from(*sampling_percent).ok(),
            edit_window: prost_types::Duration::try_from(*edit_window).ok(),
            create_time: Some(timestamp(*create_time)),
            update_time: Some(timestamp(*update_time)),
        }
    }
}
