//! The days of the chain: who comes when, at the pace that was asked for.

use std::sync::Arc;
use std::time::Duration;

use jiff::ToSpan;
use jiff::civil::Date;
use kernel::{Context, Timestamp, Zone};
use rand::RngExt;
use rand::rngs::StdRng;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::Options;
use super::board::Board;
use super::calls::Calls;
use super::chain::{Chain, TIME_ZONE};
use super::people;
use super::scenes::{Bought, Cue, Outcome, Person, Scene, Stage};
use super::surveys;

/// Four weeks that ended yesterday: a till may report a sale of the last thirty days.
const DAYS: u32 = 28;
/// People join in the first three weeks, a third of them on the first day.
const JOINING_DAYS: u32 = 21;
const OPENING: Duration = Duration::from_secs(8 * 3600);
const OPEN_FOR: Duration = Duration::from_secs(13 * 3600);
/// Guests who are served at the same time.
const SCENES_MAX: usize = 64;
/// The share of purchases that come back the day after, and of guests without a membership.
const RETURNS: f64 = 0.02;
const STRANGERS: f64 = 0.06;
/// The share of newcomers who come by a friend's code.
const REFERRED: f64 = 0.35;

/// The story under way.
pub(super) struct Play {
    stage: Arc<Stage>,
    members: u32,
    /// How long a day takes on the clock of the person who watches.
    day: Duration,
    seed: u64,
    people: Vec<Arc<Person>>,
    /// What was bought on the day before, as far as it may come back.
    bought: Vec<Bought>,
}

impl Play {
    pub(super) fn new(chain: Arc<Chain>, calls: Arc<Calls>, board: Arc<Board>, options: &Options) -> Play {
        let day = if options.speed > 0.0 { Duration::from_secs_f64(1.0 / options.speed) } else { Duration::ZERO };
        Play {
            stage: Arc::new(Stage { chain, calls, board }),
            members: options.members,
            day,
            seed: options.seed,
            people: Vec::new(),
            bought: Vec::new(),
        }
    }

    /// Plays all days, or until it is stopped.
    pub(super) async fn run(mut self, stop: &CancellationToken) -> anyhow::Result<()> {
        let zone = Zone::parse(TIME_ZONE)?;
        let yesterday = Context::system().now().date_in(&zone).yesterday()?;
        let mut dice = people::dice(self.seed);
        for day in 0..DAYS {
            if stop.is_cancelled() {
                break;
            }
            self.stage.board.begin_day(day + 1, DAYS);
            let date: Date = yesterday.checked_sub(i64::from(DAYS - 1 - day).days())?;
            let cues = self.plan(day, zone.start_of(date), &mut dice);
            let stage = self.stage.clone();
            let Stage { chain, calls, board } = &*stage;
            let sending = surveys::send_due(chain, calls, board, dice.random());
            let (sent, played) = tokio::join!(sending, self.play(cues, stop));
            sent?;
            self.remember(played?);
            surveys::read_score(chain, calls, board).await?;
        }
        Ok(())
    }

    /// What happens on a day, in its order.
    fn plan(&mut self, day: u32, midnight: Timestamp, dice: &mut StdRng) -> Vec<Cue> {
        let mut scenes: Vec<Scene> = Vec::new();
        for number in self.joining(day) {
            let referred = !self.people.is_empty() && dice.random_bool(REFERRED);
            let advocate = referred.then(|| self.people[dice.random_range(0..self.people.len())].clone());
            scenes.push(Scene::Join { number, advocate });
        }
        for person in &self.people {
            if dice.random_bool(person.habit.visits()) {
                scenes.push(Scene::Visit(person.clone()));
            }
        }
        let strangers = (scenes.len() as f64 * STRANGERS).ceil() as usize;
        scenes.extend(std::iter::repeat_with(|| Scene::Stranger).take(strangers));
        let returned = std::mem::take(&mut self.bought).into_iter().filter(|_| dice.random_bool(RETURNS)).map(Scene::Return);
        scenes.extend(returned);

        let mut cues: Vec<Cue> = scenes
            .into_iter()
            .map(|scene| Cue { at: midnight + OPENING + OPEN_FOR.mul_f64(dice.random::<f64>()), seed: dice.random(), scene })
            .collect();
        cues.sort_by_key(|cue| cue.at);
        cues
    }

    /// The numbers of those who join on a day.
    fn joining(&self, day: u32) -> std::ops::Range<u32> {
        let first = self.members / 3;
        let until =
            |day: u32| if day == 0 { 0 } else { first + (self.members - first) * (day - 1).min(JOINING_DAYS - 1) / (JOINING_DAYS - 1) };
        until(day)..until(day + 1)
    }

    /// Plays the scenes of a day at their pace; the day has ended when the last of them has.
    async fn play(&self, cues: Vec<Cue>, stop: &CancellationToken) -> Result<Vec<(usize, Outcome)>, Status> {
        let room = Arc::new(Semaphore::new(SCENES_MAX));
        let begun = Instant::now();
        let mut scenes = JoinSet::new();
        let opening = cues.first().map_or(Timestamp::MIN, |cue| cue.at);
        for (place, cue) in cues.into_iter().enumerate() {
            let passed = cue.at.since(opening).as_secs_f64() / OPEN_FOR.as_secs_f64();
            tokio::time::sleep_until(begun + self.day.mul_f64(passed)).await;
            let Ok(permit) = room.clone().acquire_owned().await else { break };
            if stop.is_cancelled() {
                break;
            }
            let stage = self.stage.clone();
            scenes.spawn(async move {
                let _permit = permit;
                stage.play(cue).await.map(|outcome| (place, outcome))
            });
        }
        let mut outcomes = Vec::new();
        while let Some(ended) = scenes.join_next().await {
            outcomes.push(ended.map_err(|error| Status::internal(error.to_string()))??);
        }
        Ok(outcomes)
    }

    /// In the order of the plan, so that the next day does not depend on who was served first.
    fn remember(&mut self, mut outcomes: Vec<(usize, Outcome)>) {
        outcomes.sort_by_key(|(place, _)| *place);
        for (_, Outcome { joined, bought }) in outcomes {
            self.people.extend(joined);
            self.bought.extend(bought);
        }
    }
}
